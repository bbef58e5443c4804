"""SM3."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Fraction, NonNegative
from optchain.core.numerics import over_root, square
from optchain.core.rule import rule
from optchain.core.whole import whole_max


class Cover(NamedTuple):
    nu_row: jax.Array | None  # like p without its last axis, bound on the sums of g**2 within each row
    nu_col: jax.Array | None  # as long as the last axis of p, bound within each column
    nu: jax.Array | None  # like p, of vectors


@rule
class Sm3:
    r"""Adagrad whose sums of squares are bounded by one number for each row and one for each column.

    .. math::
        \nu_{ij} = b_2 \min(r_i, c_j) + w g_{ij}^2, \qquad r_i \leftarrow \max_j \nu_{ij}, \qquad
        c_j \leftarrow \max_i \nu_{ij}, \qquad u = \frac{g}{\sqrt{\nu + \epsilon}}

    with :math:`w = 1` where :math:`b_2` is 1 (sums), and :math:`w = 1 - b_2` else (running means). Columns are slices
    of the last axis, rows run along it; vectors and scalars keep :math:`\nu` itself.

    Fields:
        b2: :math:`b_2`, decay of the bounds, in [0, 1]; 1 in the paper.
        eps: added inside the root, in the units of g**2, at least 0.

    Shapes and dtypes: any; the slots `nu_row` and `nu_col` hold the bounds of a matrix, `nu` the sums of a vector, all
    in float32 or wider.

    Differs from the paper: eps, which is 0 there with 0 / 0 = 0. It leaves the cover open; where a parameter has more
    than two axes optax takes the slices of each. The momentum that optax adds is a link of its own (`ema`).

    References:
        Anil et al., 2019, Algorithm SM3-II. https://arxiv.org/abs/1901.11150
    """

    _: KW_ONLY
    b2: Fraction = 1.0
    eps: NonNegative = 1e-8

    core_ndim = None
    on_shards = True

    def init(self, p):
        zeros = jnp.zeros_like(p)
        return Cover(None, None, zeros) if p.ndim < 2 else Cover(*bounds(zeros), None)

    def axes(self, p):
        return {"nu_row": tuple(range(p.ndim - 1)), "nu_col": (p.ndim - 1,)}

    def update(self, g, s, p, t):
        if g.ndim < 2:
            nu = self._with(g, s.nu)
            return over_root(g, nu, self.eps, eps_in_sqrt=True), Cover(None, None, nu)
        columns = jnp.expand_dims(s.nu_col, tuple(range(g.ndim - 1)))
        nu = self._with(g, jnp.minimum(s.nu_row[..., None], columns))
        return over_root(g, nu, self.eps, eps_in_sqrt=True), Cover(*bounds(nu), None)

    def _with(self, g, bound):
        """What bounded the squares before, and the square of one more gradient."""
        return self.b2 * bound + jnp.where(self.b2 == 1, 1, 1 - self.b2) * square(g)


def bounds(nu: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The largest entry of each row and of each column."""
    return whole_max(nu, -1), whole_max(nu, tuple(range(nu.ndim - 1)))


scale_by_sm3 = lift(Sm3, "scale_by_sm3")
