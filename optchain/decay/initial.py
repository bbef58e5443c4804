"""Decay towards the initial parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.rule import rule


class Initial(NamedTuple):
    initial: jax.Array  # like p, the parameter at init


@rule
class DecayToInit:
    r"""Adds a multiple of the way from the initial parameter to the update.

    .. math::
        u = g + \lambda (p - p_0)

    In fine-tuning it holds parameters near the pretrained ones, where ordinary decay pulls them to 0. Before the
    moments it is the gradient of the penalty :math:`\lambda \lVert p - p_0 \rVert^2 / 2`, after them decoupled.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any; the slot `initial` is a copy of the parameter in float32 or wider. It reads the parameters:
    `update` without them is an error.

    Differs from the paper: new parameters have no penalty of their own; give them another by masks.

    References:
        Li, Grandvalet and Davoine, 2018, equation 2 (L2-SP). https://arxiv.org/abs/1802.01483
    """

    weight_decay: NonNegative

    needs_params = True
    example = {"weight_decay": 0.1}

    def init(self, p):
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        return Initial(jnp.copy(p))

    def update(self, g, s, p, t):
        return g + self.weight_decay * (p - s.initial), s


decay_to_init = lift(DecayToInit, "decay_to_init")
