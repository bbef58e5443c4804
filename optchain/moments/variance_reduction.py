"""The gradient correction of MARS."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Decay, NonNegative
from optchain.core.rule import rule


class LastGradient(NamedTuple):
    last: jax.Array  # like p, the last g


@rule
class VarianceReduction:
    r"""Adds to the gradient a multiple of how it changed since the last step, so that its running mean lags less.

    .. math::
        u = g + \gamma \frac{b_1}{1 - b_1} (g - g_{last})

    Followed by `clip_by_leaf_norm(1.0)` and moments with the same b1 it is MARS; the preset `mars` takes those of Adam.

    Fields:
        gamma: :math:`\gamma`, strength of the correction, at least 0; with 1 it is that of STORM.
        b1: decay of the running mean that follows, in [0, 1).

    Shapes and dtypes: any; the slot `last` is like the parameter, in float32 or wider.

    Differs from the paper: nothing, in its practical form MARS-approx, where the last gradient is that of the last
    batch. The first difference is 0, as the paper's :math:`x_1 = x_0` has it; the authors' program begins with a
    last gradient of 0 instead, and corrects matrices alone: what has not two axes it steps by AdamW, see `oc.mars`.

    References:
        Yuan et al., 2024, Algorithm 1 and its approximation. https://arxiv.org/abs/2411.10438
    """

    gamma: NonNegative = 0.025
    b1: Decay = 0.95

    def init(self, p):
        return LastGradient(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        difference = jnp.where(t == 1, 0, g - s.last)
        return g + self.gamma * self.b1 / (1 - self.b1) * difference, LastGradient(g)


reduce_variance = lift(VarianceReduction, "reduce_variance")
