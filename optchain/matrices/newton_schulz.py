"""Orthogonalization of a matrix: all its singular values become about 1."""

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.numbers import Scalar, whole
from optchain.core.numerics import norm, quotient, sqrt
from optchain.core.paths import nearest
from optchain.matrices.lapack import eigh
from optchain.matrices.polar_express import polar_express

MUON = (3.4445, -4.7750, 2.0315)  # the steepest at 0 of those that keep singular values between about 0.7 and 1.2
# From the smaller matrix of inner products, what brings all singular values to at most 1: one divisor, or one for each
# row or column of the shorter side.
DIVISORS = {
    "spectral": lambda gram: sqrt(eigh(gram)[0][-1]),
    "schatten": lambda gram: sqrt(norm(gram)),
    "aol": lambda gram: sqrt(jnp.sum(jnp.abs(gram), -1, keepdims=True)),
}

Coefficients = tuple[float, float, float]  # a, b, c of one step
Polynomials = str | Coefficients | tuple[Coefficients, ...]


def polynomials(owner: str, coefficients: Polynomials, steps: int) -> tuple[Coefficients, ...]:
    """The coefficients of each step.

    Args:
        owner: the technique.
        coefficients: those of every step, as `MUON`, or of one step after the other; or "polar_express".
        steps: how many, at least 1.

    Raises:
        ValueError: anything else, or others than there are steps.
    """
    whole(owner, "ns_steps", steps, 1)
    if isinstance(coefficients, str):
        if coefficients != "polar_express":
            known = nearest(coefficients, ("polar_express",))
            raise ValueError(f"{owner}: there are no ns_coeffs {coefficients!r}; {known}")
        return polar_express(steps)
    table = np.asarray(coefficients, float)
    if table.ndim not in (1, 2) or table.shape[-1:] != (3,):
        raise ValueError(f"{owner}: ns_coeffs must be three numbers, or three for each step, got {coefficients!r}")
    table = np.broadcast_to(table, (steps, 3)) if table.ndim == 1 else table
    if len(table) != steps:
        raise ValueError(f"{owner}: ns_coeffs has {len(table)} steps, expected ns_steps={steps} of them")
    return tuple((a, b, c) for a, b, c in table.tolist())


def require_preconditioning(owner: str, preconditioning: str) -> None:
    """This is a way to divide before the first polynomial, or an error names the nearest."""
    if preconditioning not in (names := ("frobenius", *DIVISORS)):
        known = nearest(preconditioning, names)
        raise ValueError(f"{owner}: there is no preconditioning {preconditioning!r}; {known}")


def orthogonalized(
    x: jax.Array, coefficients: tuple[Coefficients, ...], eps: Scalar, preconditioning: str = "frobenius"
) -> jax.Array:
    r"""The matrix with its singular vectors, and singular values near 1: nearly the polar factor :math:`U V^T`.

    .. math::
        X \leftarrow \frac{X}{\|X\|_F + \epsilon}, \qquad
        X \leftarrow a X + (b A + c A^2) X \quad\text{with } A = X X^T, \text{ once for each } (a, b, c)

    A tall matrix is multiplied from the right, by polynomials of the smaller :math:`X^T X`. With `preconditioning` X is
    divided once more before the first polynomial, by a number that is nearer to its largest singular value:
    :math:`\|A\|_F^{1/2}` (`"schatten"`), or that singular value itself (`"spectral"`); or each row or column i of the
    shorter side by :math:`(\sum_j |A_{ij}|)^{1/2}` (`"aol"`).

    The arithmetic is in the dtype of x; on a GPU or TPU JAX's `default_matmul_precision` decides how exact its products
    are. A zero matrix stays zero.

    References:
        Jordan et al., 2024, Muon: an optimizer for hidden layers. https://kellerjordan.github.io/posts/muon/
        Amsel et al., 2025, Algorithm 1. https://arxiv.org/abs/2505.16932
        Boissin et al., 2025 (`"aol"`). https://arxiv.org/abs/2512.04632
        Grishina et al., 2025 (`"schatten"`). https://arxiv.org/abs/2506.10935
    """
    x = unit(x, eps)
    tall = x.shape[0] > x.shape[1]
    if preconditioning != "frobenius":  # which `unit` has divided by
        divisor = DIVISORS[preconditioning](x.T @ x if tall else x @ x.T)
        x = quotient(x, divisor.T if tall else divisor)
    for a, b, c in coefficients:
        gram = x.T @ x if tall else x @ x.T
        factor = b * gram + c * gram @ gram
        x = a * x + (x @ factor if tall else factor @ x)
    return x


def unit(x: jax.Array, eps: Scalar) -> jax.Array:
    """The matrix divided by its Frobenius norm plus `eps`, regardless of the size of its entries; zero stays zero."""
    return quotient(x, norm(x) + eps)
