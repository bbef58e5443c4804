"""Adagrad."""

from dataclasses import KW_ONLY
from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SUM
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Static
from optchain.core.numerics import over_root, square
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


class SumOfSquares(NamedTuple):
    sum_of_squares: jax.Array  # like p, sum of g**2


@rule
class Adagrad(Rests):
    r"""Divides the update by the root of the sum of all its squares so far.

    .. math::
        G \leftarrow G + g^2, \qquad u = \frac{g}{\sqrt{G + \epsilon}} \quad\text{or}\quad \frac{g}{\sqrt{G} + \epsilon}

    Fields:
        initial_accumulator_value: G before the first update, in the units of g**2, at least 0.
        eps: at least 0; in the units of g**2 inside the root, of g outside.
        eps_in_sqrt: add eps inside the root, or to the root.

    Shapes and dtypes: any; the slot `sum_of_squares` (G above) is like the parameter, in float32 or wider.

    Differs from the paper: there the accumulator starts at 0, and eps (:math:`\delta`) stands outside the root.

    References:
        Duchi, Hazan and Singer, 2011, Figure 1, diagonal form. Journal of Machine Learning Research 12:2121-2159
    """

    initial_accumulator_value: NonNegative = 0.1
    eps: NonNegative = 1e-7
    _: KW_ONLY
    eps_in_sqrt: Static[bool] = True
    kinds = {"sum_of_squares": SUM}

    def init(self, p):
        return SumOfSquares(jnp.full_like(p, self.initial_accumulator_value))

    def update(self, g, s, p, t):
        total = s.sum_of_squares + square(g)
        return over_root(g, total, self.eps, self.eps_in_sqrt), SumOfSquares(total)


scale_by_rss = lift(Adagrad, "scale_by_rss")
