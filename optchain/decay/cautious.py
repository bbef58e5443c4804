"""Cautious weight decay."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.rule import rule


@rule
class CautiousWeightDecay:
    r"""Adds a multiple of the parameter to the update where the two have the same sign.

    .. math::
        u = g + \lambda [g p \ge 0]\, p

    It stands after the moments and before the learning rate. An entry that the update already moves away from 0 is not
    held back, so that the minima of the loss stay where they are.

    Fields:
        weight_decay: :math:`\lambda`, at least 0; per unit of the learning rate where a rate link follows.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error.

    Differs from the paper: nothing.

    References:
        Chen et al., 2025, Algorithm 1. https://arxiv.org/abs/2510.12402
    """

    weight_decay: NonNegative

    needs_params = True
    example = {"weight_decay": 0.1}

    def update(self, g, s, p, t):
        # By signs: the product of two small numbers may underflow to 0.
        return g + jnp.where(jnp.sign(g) * jnp.sign(p) >= 0, self.weight_decay * p, 0), s


add_cautious_decayed_weights = lift(CautiousWeightDecay, "add_cautious_decayed_weights")
