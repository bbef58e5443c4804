"""Clipping by value."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class ValueClip(Rests):
    r"""Limits every entry of the update to an interval around 0.

    .. math::
        u = \min(\max(g, -c), c)

    Fields:
        max_delta: c, in the units of g, > 0.

    Shapes and dtypes: any. An infinity becomes c, a NaN stays.

    Differs from the paper: nothing. It limits gradients, not weights.

    References:
        Mikolov, 2012, section 3.2.2. Statistical Language Models Based on Neural Networks, PhD thesis, Brno
    """

    max_delta: Positive

    example = {"max_delta": 0.1}

    def update(self, g, s, p, t):
        return jnp.clip(g, -self.max_delta, self.max_delta), s


clip = lift(ValueClip, "clip")
