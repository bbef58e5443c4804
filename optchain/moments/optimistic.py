"""Optimistic gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.rule import rule


class Last(NamedTuple):
    last: jax.Array  # like p, the last g


@rule
class Optimistic:
    r"""Adds to the update its change since the last one, as if it would change as much again.

    .. math::
        u = \alpha g + \beta (g - g_{last})

    Fields:
        alpha: weight of the gradient, at least 0.
        beta: weight of its change, at least 0. The first gradient counts as unchanged.

    Shapes and dtypes: any; the slot `last` is like the parameter, in float32 or wider.

    Differs from the paper: nothing; it has :math:`\alpha = \beta = 1`.

    References:
        Daskalakis et al., 2017, equation 6. https://arxiv.org/abs/1711.00141
        Mokhtari, Ozdaglar and Pattathil, 2019, equation 9 (generalized). https://arxiv.org/abs/1901.08511
    """

    alpha: NonNegative = 1.0
    beta: NonNegative = 1.0

    def init(self, p):
        return Last(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        return self.alpha * g + self.beta * jnp.where(t == 1, 0, g - s.last), Last(g)


scale_by_optimistic_gradient = lift(Optimistic, "scale_by_optimistic_gradient")
