"""The polynomials of Polar Express."""

import functools
import math

import numpy as np

LEAST, CUSHION, SAFETY = 1e-3, 0.02407327424182761, 1.01


@functools.cache
def polar_express(steps: int) -> tuple[tuple[float, float, float], ...]:
    r"""The odd polynomials of degree 5 whose composition is nearest to 1 on the singular values from 0.001 to 1.

    .. math::
        p_k = \arg\min_p \max_{l_k \le x \le u_k} |1 - p(x)|, \qquad [l_{k+1}, u_{k+1}] = p_k([l_k, u_k])

    No interval begins below 0.024 of its end, so that no polynomial dips far in between. All but the last are stretched
    by 1.01, which keeps singular values inside the interval that rounding errors would push out.

    References:
        Amsel et al., 2025, Theorem 3.1, Algorithm 1 and section 4.4. https://arxiv.org/abs/2505.16932
    """
    low, high, polynomials, powers = LEAST, 1.0, [], np.array([1, 3, 5])
    for _ in range(steps):
        polynomial = minimax(max(low, CUSHION * high), high)
        # The cushion moves the middle of the values away from 1.
        polynomial *= 2 / (polynomial @ low**powers + polynomial @ high**powers)
        polynomials.append(polynomial)
        low = float(polynomial @ low**powers)
        high = 2 - low
    stretched = [p / SAFETY**powers for p in polynomials[:-1]] + polynomials[-1:]
    return tuple((float(a), float(b), float(c)) for a, b, c in stretched)


def minimax(low: float, high: float) -> np.ndarray:
    """The coefficients of x, x**3 and x**5 that are nearest to 1 on an interval, by Remez' exchange."""
    if low > (1 - 5e-6) * high:  # the exchange is singular; in the limit it is Newton-Schulz of degree 5
        return np.array([15 / 8, -10 / 8, 3 / 8]) / high ** np.array([1, 3, 5])
    points = low + (high - low) * np.array([0, 1 / 4, 3 / 4, 1])
    a = b = c = error = 0.0
    for _ in range(100):
        before = error
        a, b, c, error = np.linalg.solve(np.column_stack([points, points**3, points**5, [1, -1, 1, -1]]), np.ones(4))
        root = math.sqrt(9 * b**2 - 20 * a * c)  # the inner extrema: a + 3 b x**2 + 5 c x**4 = 0
        points[1:3] = np.sqrt([(-3 * b - root) / (10 * c), (-3 * b + root) / (10 * c)])
        if abs(error - before) < 1e-15:
            break
    return np.array([a, b, c])
