"""MADGRAD."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import DRIFT, SUM
from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative, Positive
from optchain.core.numerics import TINY, square
from optchain.core.rule import rule


class DualAverages(NamedTuple):
    sum: jax.Array  # like p, weighted sum of g
    sum_of_squares: jax.Array  # like p, weighted sum of g**2
    start: jax.Array  # like p, the first parameters


@rule
class Madgrad:
    r"""Dual averaging with momentum: steps from the first parameters along the sum of all gradients.

    .. math::
        \eta_t = \eta \sqrt t, \qquad s \leftarrow s + \eta_t g, \qquad \nu \leftarrow \nu + \eta_t g^2, \qquad
        z = p_0 - \frac{s}{\sqrt[3]{\nu} + \epsilon}, \qquad u = (1 - b) (z - p)

    The update is the whole step, downhill: neither a rate nor a sign follows. It is not proportional to the rate, which
    is part of both sums.

    Fields:
        learning_rate: :math:`\eta`, at least 0.
        momentum: b, the weight of the parameters against z, in [0, 1).
        eps: added to the cube root, in the units of g, positive.

    Shapes and dtypes: any; the slots `sum` (s above), `sum_of_squares` (:math:`\nu`) and `start` (:math:`p_0`, a copy)
    are like the parameter, in float32 or wider. It reads the parameters: `update` without them is an error.

    Differs from the paper: eps is added there as here, and the authors' program, optax and pytorch_optimizer add it to
    the rate too. Only updates of this link may move the parameters; a decay before it is one of the gradient (L2).

    References:
        Defazio and Jelassi, 2021, Algorithm 1. https://arxiv.org/abs/2101.11075
    """

    learning_rate: NonNegative
    momentum: Decay = 0.9
    eps: Positive = 1e-6

    needs_params = True
    kinds = {"sum": DRIFT, "sum_of_squares": SUM}
    example = {"learning_rate": 0.01}

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return DualAverages(jnp.zeros_like(p), jnp.zeros_like(p), jnp.copy(p))

    def update(self, g, s, p, t):
        rate = self.learning_rate * jnp.sqrt(t)
        total, squares = s.sum + rate * g, s.sum_of_squares + rate * square(g)
        z = s.start - total / (jnp.cbrt(jnp.maximum(squares, TINY[g.dtype])) + self.eps)
        return (1 - self.momentum) * (z - p), DualAverages(total, squares, s.start)


scale_by_madgrad = lift(Madgrad, "scale_by_madgrad")
