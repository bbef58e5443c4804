"""Parameters within a range."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Rate
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class ParameterRange(Rests):
    r"""Shortens the update so that no entry of the parameter leaves an interval.

    .. math::
        u = \min(\max(p + g, l), h) - p

    It is the last link of a chain: the incoming update must be the step that is taken. With -0.01 and 0.01 it is the
    weight clipping of the Wasserstein GAN.

    Fields:
        low: l, in the units of the parameter, any finite number.
        high: h, in the units of the parameter, any finite number; where it is below `low` it is what counts.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. An entry that begins outside the
    interval is brought to its edge by the first step, within `rows` by the first one that touches its row. In low
    precision the edge is met within one rounding.

    Differs from the paper: nothing.

    References:
        Arjovsky, Chintala and Bottou, 2017, Algorithm 1, line 7. https://arxiv.org/abs/1701.07875

    >>> import optchain as oc
    >>> tx = oc.chain(oc.rmsprop(5e-5), oc.keep_params_in_range(-0.01, 0.01))
    """

    low: Rate
    high: Rate

    needs_params = True
    example = {"low": -1.0, "high": 1.0}

    def update(self, g, s, p, t):
        moved = p + g
        # The whole update within the range: p + g - p would lose the digits of g that p + g has lost.
        inside = (moved >= self.low) & (moved <= self.high)
        return jnp.where(inside, g, jnp.clip(moved, self.low, self.high) - p), s


keep_params_in_range = lift(ParameterRange, "keep_params_in_range")
