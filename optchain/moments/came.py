"""CAME."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, mean
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive, Static, whole
from optchain.core.numerics import ema, rms, root, square
from optchain.core.rule import rule
from optchain.core.whole import whole_shape
from optchain.moments.factored import factor_axes, means, over_factored_root, two_largest


class Confidence(NamedTuple):
    mu: jax.Array  # like p, running mean of the normalized, clipped g
    nu_row: jax.Array | None  # like p without its columns, running mean of g**2 over them
    nu_col: jax.Array | None  # like p without its rows
    nu: jax.Array | None  # like p, of a parameter that is not factored
    residual_row: jax.Array | None  # as nu_row, of the squared deviations from mu
    residual_col: jax.Array | None


@rule
class Came:
    r"""Divides by factored mean squares, averages, and divides again by how far the parts were from their mean.

    .. math::
        r, s \leftarrow b_2 (r, s) + (1 - b_2)\, \mathrm{mean}_{col, row} (g^2 + \epsilon), \qquad
        \hat g = g \Big/ \sqrt{\frac{r s^T}{\mathrm{mean}\, r}}, \qquad
        \bar g = \frac{\hat g}{\max(1, \mathrm{RMS}(\hat g) / d)}

        \mu \leftarrow b_1 \mu + (1 - b_1) \bar g, \qquad
        R, S \leftarrow b_3 (R, S) + (1 - b_3)\, \mathrm{mean}_{col, row} ((\bar g - \mu)^2 + \epsilon_{res}), \qquad
        u = \mu \Big/ \sqrt{\frac{R S^T}{\mathrm{mean}\, R}}

    Rows and columns are the two longest axes; other axes count matrices. Where the shorter of the two is below
    `min_dim_size_to_factor`, and on vectors, the mean square has the shape of the parameter, and :math:`u = \mu`.

    Fields:
        b1: decay of the mean, in [0, 1).
        b2: decay of the mean square, in [0, 1).
        b3: decay of the mean squared deviation, in [0, 1).
        eps: :math:`\epsilon`, added to the squares, in the units of g**2, positive.
        eps_residual: :math:`\epsilon_{res}`, added to the squared deviations, which have no units, positive.
        clipping_threshold: d, bound on the root mean square of a leaf, positive.
        min_dim_size_to_factor: the least number of rows and of columns that are factored, from 1.

    Shapes and dtypes: any; the slot `mu` and, where nothing is factored, `nu` are like the parameter, the others are
    the factors of both matrices, all in float32 or wider.

    Differs from the paper: it sums where here are means, which is the same quotient. That vectors have no residual is
    as in the authors' program; the paper treats matrices.

    Raises:
        ValueError: `min_dim_size_to_factor` is no whole number from 1.

    References:
        Luo et al., 2023, Algorithm 2. https://arxiv.org/abs/2307.02047
    """

    b1: Decay = 0.9
    b2: Decay = 0.999
    b3: Decay = 0.9999
    eps: Positive = 1e-30
    eps_residual: Positive = 1e-16
    clipping_threshold: Positive = 1.0
    min_dim_size_to_factor: Static[int] = 2

    core_ndim = None
    on_shards = True
    kinds = {"mu": mean("b1", least=8), "nu": SQUARE}

    def __post_init__(self):
        whole("scale_by_came", "min_dim_size_to_factor", self.min_dim_size_to_factor, 1)

    def init(self, p):
        zeros, axes = jnp.zeros_like(p), two_largest(whole_shape(p), self.min_dim_size_to_factor)
        if axes is None:
            return Confidence(zeros, None, None, jnp.zeros_like(p), None, None)
        return Confidence(zeros, *means(zeros, axes), None, *means(zeros, axes))

    def axes(self, p):
        factors = factor_axes(p.ndim, two_largest(whole_shape(p), self.min_dim_size_to_factor))
        return factors | {name.replace("nu", "residual"): axes for name, axes in factors.items()}

    def update(self, g, s, p, t):
        g_square, axes = square(g) + self.eps, two_largest(whole_shape(g), self.min_dim_size_to_factor)
        if axes is None:
            nu = ema(g_square, s.nu, self.b2)
            mu = ema(self.clipped(g / root(nu)), s.mu, self.b1)
            return mu, Confidence(mu, None, None, nu, None, None)
        row, col = self.averaged(g_square, (s.nu_row, s.nu_col), self.b2, axes)
        part = self.clipped(over_factored_root(g, row, col, axes))
        mu = ema(part, s.mu, self.b1)
        old = (s.residual_row, s.residual_col)
        residual = self.averaged(square(part - mu) + self.eps_residual, old, self.b3, axes)
        return over_factored_root(mu, *residual, axes), Confidence(mu, row, col, None, *residual)

    def averaged(self, x, old, b, axes):
        """The running means of rows and columns after one more matrix."""
        row, col = means(x, axes)
        return ema(row, old[0], b), ema(col, old[1], b)

    def clipped(self, u):
        """The array with a bounded root mean square."""
        return u / jnp.maximum(1.0, rms(u) / self.clipping_threshold)


scale_by_came = lift(Came, "scale_by_came")
