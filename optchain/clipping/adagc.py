"""Clipping by the history of each leaf's norm."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive, Static
from optchain.core.numerics import clip_factor, ema, norm
from optchain.core.rule import rule


class History(NamedTuple):
    """What the norm of a leaf's update was so far."""

    gamma: jax.Array  # a scalar for each leaf, running mean of the clipped norms; 0 before the first


@rule
class NormHistoryClip:
    r"""Scales the update of each leaf down, where its norm exceeds a multiple of what it was so far.

    .. math::
        u = g \min\left(1, \lambda \frac{\gamma}{\lVert g \rVert}\right), \qquad
        \gamma \leftarrow \beta \gamma + (1 - \beta) \lVert u \rVert

    During the first updates, :math:`t < T`, everything passes, and :math:`\gamma` is the least norm so far.

    Fields:
        beta: :math:`\beta`, the decay of the mean, in [0, 1).
        max_ratio: :math:`\lambda`, > 0.
        warmup_steps: T, updates without clipping, the first of them always; 100 in the paper.

    Shapes and dtypes: any; the norm is summed in float64. The slot `gamma` is a scalar for each leaf. A NaN or infinity
    spoils its whole leaf.

    Differs from the paper: a norm that is 0 or not finite does not enter the history: there the least norm, and with it
    all updates to come, would be 0. During the warm-up the paper clips by the global norm, which is another link.

    References:
        Wang et al., 2025, Algorithm 1. https://arxiv.org/abs/2502.11034

    >>> import optchain as oc
    >>> warmup = oc.clip_by_global_norm(oc.piecewise([1.0, 1e30], [99]))
    >>> tx = oc.chain(warmup, oc.clip_by_adagc(), oc.adamw(1e-3))
    """

    beta: Decay = 0.98
    max_ratio: Positive = 1.05
    warmup_steps: Static[int] = 100

    core_ndim = None
    on_shards = True
    example = {"warmup_steps": 1}

    def init(self, p):
        return History(jnp.zeros_like(norm(p)))

    def axes(self, p):
        return {"gamma": ()}

    def update(self, g, s, p, t):
        n = norm(g)
        warming = (t < self.warmup_steps) | (s.gamma == 0)
        bound = jnp.where(warming, 1, self.max_ratio * s.gamma)
        factor = jnp.where(warming, 1, clip_factor(n, bound))
        least = jnp.where(s.gamma == 0, n, jnp.minimum(s.gamma, n))
        gamma = jnp.where(warming, least, ema(n * factor, s.gamma, self.beta))
        return g * factor, History(jnp.where(jnp.isfinite(n) & (n > 0), gamma, s.gamma))


clip_by_adagc = lift(NormHistoryClip, "clip_by_adagc")
