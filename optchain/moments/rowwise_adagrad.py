"""Adagrad with one accumulator for each row of a table."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SUM
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import bounded, over_root, square
from optchain.core.rule import rule
from optchain.core.whole import whole_mean
from optchain.embeddings.sleep import Rests


class RowSum(NamedTuple):
    sum_of_squares: jax.Array  # like p without its last axis, sum of the mean of g**2


@rule
class RowwiseAdagrad(Rests):
    r"""Divides the update of a row by the root of the sum of all its mean squares so far.

    .. math::
        G \leftarrow G + \frac{1}{d} \sum_{j=1}^d g_j^2, \qquad u = \frac{g}{\sqrt G + \epsilon}

    It keeps 4 bytes for a row of d numbers, where Adagrad keeps 4 d.

    Fields:
        initial_accumulator_value: G before the first update, in the units of g**2, at least 0.
        eps: added to the root, in the units of g, at least 0.

    Shapes and dtypes: any; a row is what lies along the last axis, and the slot has the shape of all others, in float32
    or wider.

    Differs from the paper: there is none that defines it; DLRM, which it is used for, cites its implementation.

    References:
        Duchi, Hazan and Singer, 2011, Figure 1. Journal of Machine Learning Research 12:2121-2159
        Naumov et al., 2019 (DLRM). https://arxiv.org/abs/1906.00091
    """

    initial_accumulator_value: NonNegative = 0.0
    eps: NonNegative = 1e-8

    core_ndim = 1
    on_shards = True
    any_rank = True
    kinds = {"sum_of_squares": SUM}

    def init(self, p):
        return RowSum(jnp.full(p.shape[:-1], self.initial_accumulator_value, p.dtype))

    def axes(self, p):
        return {"sum_of_squares": tuple(range(p.ndim - 1))}

    def update(self, g, s, p, t):
        total = bounded(s.sum_of_squares + whole_mean(square(g), -1 if g.ndim else None))
        divisor = jnp.expand_dims(total, -1) if g.ndim else total
        return over_root(g, divisor, self.eps), RowSum(total)


scale_by_rowwise_adagrad = lift(RowwiseAdagrad, "scale_by_rowwise_adagrad")
