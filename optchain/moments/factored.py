"""Second moments factored into rows and columns (Adafactor)."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Fraction, Positive, Static, whole
from optchain.core.numerics import ema, root, square
from optchain.core.rule import rule
from optchain.core.whole import whole_mean, whole_shape

MOST = 1e37  # of a mean of squares that is divided by: the reciprocal of a larger number is 0 on CPU
Axes = tuple[int, int]  # of the columns' means and of the rows' means


class Factors(NamedTuple):
    nu_row: jax.Array | None  # like p without its columns, running mean of g**2 over them
    nu_col: jax.Array | None  # like p without its rows
    nu: jax.Array | None  # like p, of a parameter that is not factored


def two_largest(shape: tuple[int, ...], least: int) -> Axes | None:
    """The second largest and the largest axis, of equal ones the later; None where one is shorter than `least`."""
    order = sorted(range(len(shape)), key=lambda axis: shape[axis])
    return (order[-2], order[-1]) if len(shape) >= 2 and shape[order[-2]] >= least else None


def means(x: jax.Array, axes: Axes) -> tuple[jax.Array, jax.Array]:
    """The mean of each row, over the second axis, and of each column, over the first; x is at least 0."""
    return jnp.minimum(whole_mean(x, axes[1]), MOST), jnp.minimum(whole_mean(x, axes[0]), MOST)


def factor_axes(ndim: int, axes: Axes | None) -> dict[str, tuple[int, ...]]:
    """The axes that the means of rows and of columns follow: all but the one that they are taken over."""
    if axes is None:
        return {}
    row, col = (tuple(axis for axis in range(ndim) if axis != over) for over in (axes[1], axes[0]))
    return {"nu_row": row, "nu_col": col}


def over_factored_root(g: jax.Array, row: jax.Array, col: jax.Array, axes: Axes) -> jax.Array:
    """The quotient of g and the root of the product of its factors, `row col / mean(row)`."""
    row, col = jnp.expand_dims(row, axes[1]), jnp.expand_dims(col, axes[0])
    # In units of their means, which cancel: a derivative has squares of divisors, which may be as small as the root of
    # eps, and the product of both factors may leave the range of float32.
    centers = (whole_mean(x, axis, keepdims=True) for x, axis in ((row, axes[0]), (col, axes[1])))
    unit, across = (jax.lax.stop_gradient(jnp.minimum(center, MOST)) for center in centers)
    share = row / unit
    share = share / whole_mean(share, axes[0], keepdims=True)
    return g / root(across) / root(share) / root(col / across)


@rule
class FactoredRms:
    r"""Divides the update by the root of its mean square, kept as one number for each row and one for each column.

    .. math::
        b = \min(b_{max},\ 1 - t^{-c}), \qquad
        r \leftarrow b r + (1 - b)\, \mathrm{mean}_{col} (g^2 + \epsilon), \qquad
        s \leftarrow b s + (1 - b)\, \mathrm{mean}_{row} (g^2 + \epsilon), \qquad
        u = g \Big/ \sqrt{\frac{r s^T}{\mathrm{mean}\, r}}

    Rows and columns are the two longest axes; other axes count matrices. Where the shorter of the two is below
    `min_dim_size_to_factor`, and on vectors, the mean square has the shape of the parameter.

    Fields:
        factored: False keeps the mean square of all parameters in their own shape.
        decay_rate: c, how fast the decay rises to 1, in [0, 1).
        min_dim_size_to_factor: the least number of rows and of columns that are factored, from 1.
        eps: :math:`\epsilon`, added to the squares, in the units of g**2, positive.
        max_decay: :math:`b_{max}`, a bound of the decay, in [0, 1]; 0.999 in Zhai et al.

    Shapes and dtypes: any; the slots `nu_row` and `nu_col` hold a matrix's factors, `nu` the mean square of what is not
    factored, like the parameter, all in float32 or wider.

    Differs from the paper: it sums where here are means, which is the same quotient, and factors every matrix.

    Raises:
        ValueError: `min_dim_size_to_factor` is no whole number from 1.

    References:
        Shazeer and Stern, 2018, Algorithm 4. https://arxiv.org/abs/1804.04235
        Zhai et al., 2021 (the bound of the decay). https://arxiv.org/abs/2106.04560
    """

    factored: Static[bool] = True
    decay_rate: Decay = 0.8
    _: KW_ONLY
    min_dim_size_to_factor: Static[int] = 128
    eps: Positive = 1e-30
    max_decay: Fraction = 1.0

    core_ndim = None
    on_shards = True
    kinds = {"nu": SQUARE}
    example = {"min_dim_size_to_factor": 2}

    def __post_init__(self):
        whole("scale_by_factored_rms", "min_dim_size_to_factor", self.min_dim_size_to_factor, 1)

    def init(self, p):
        zeros, axes = jnp.zeros_like(p), self._factors(p)
        return Factors(None, None, zeros) if axes is None else Factors(*means(zeros, axes), None)

    def axes(self, p):
        return factor_axes(p.ndim, self._factors(p))

    def update(self, g, s, p, t):
        b = jnp.minimum(self.max_decay, -jnp.expm1(-self.decay_rate * jnp.log(t)))
        g_square, axes = square(g) + self.eps, self._factors(g)
        if axes is None:
            nu = ema(g_square, s.nu, b)
            return g / root(nu), Factors(None, None, nu)
        row, col = (ema(new, old, b) for new, old in zip(means(g_square, axes), (s.nu_row, s.nu_col), strict=True))
        return over_factored_root(g, row, col, axes), Factors(row, col, None)

    def _factors(self, x) -> Axes | None:
        """The axes of the factors; None where there are none."""
        return two_largest(whole_shape(x), self.min_dim_size_to_factor) if self.factored else None


scale_by_factored_rms = lift(FactoredRms, "scale_by_factored_rms")
