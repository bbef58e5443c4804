"""Clipping of spikes of the global norm."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Decay, Positive, Static
from optchain.core.numerics import LARGEST, ema, global_norm, sqrt, square
from optchain.core.rule import rule
from optchain.core.trees import widest


class Norms(NamedTuple):
    """What the global norm was so far, all scalars."""

    mean: jax.Array
    var: jax.Array
    norms: jax.Array  # how many have been seen


@rule
class ZScoreClip:
    r"""Scales all updates down together, where their common norm is an outlier among those before.

    .. math::
        z = \frac{n - \mu}{\sigma}, \qquad
        n^* = \begin{cases} \mu + \sigma z_{max}^2 / z & z > z_{max} \\ n & \text{else} \end{cases}, \qquad
        u = \frac{n^*}{n} g

    .. math::
        \mu \leftarrow \alpha \mu + (1 - \alpha) n^*, \qquad
        \sigma^2 \leftarrow \alpha \sigma^2 + (1 - \alpha) (n^* - \mu)^2

    with the new mean in the variance. The further out a norm is, the further it is brought down. During the warm-up
    everything passes, and the mean and the variance are those of all norms.

    Fields:
        alpha: :math:`\alpha`, the decay of mean and variance, in [0, 1).
        z_threshold: :math:`z_{max}`, in standard deviations, > 0.
        warmup_steps: updates without clipping, the first of them always.

    Metrics: `norm`, the norm before clipping, and `scale`, the factor applied.

    Shapes and dtypes: any; the norm is summed in float64. The slots are three scalars. A norm that is 0 or not finite
    does not enter the history; an update that is not finite stays so: refusing it is a guard's business.

    Differs from the paper: what does not enter the history, above.

    References:
        Kumar et al., 2025, Algorithm 1. https://arxiv.org/abs/2504.02507

    >>> import optchain as oc
    >>> tx = oc.chain(oc.clip_by_zscore(), oc.adamw(1e-3))
    """

    alpha: Decay = 0.97
    z_threshold: Positive = 2.5
    warmup_steps: Static[int] = 25

    core_ndim = None
    on_shards = True
    metrics = ("norm", "scale")
    example = {"warmup_steps": 1}

    def init(self, params):
        return Norms(*jnp.zeros(3, widest(params)))

    def update(self, g, s, p, t):
        n = global_norm(g)
        warming, over = s.norms < max(self.warmup_steps, 1), n - s.mean
        spike = ~warming & (over > self.z_threshold * sqrt(s.var))
        target = s.mean + self.z_threshold**2 * s.var / jnp.where(spike, over, 1)
        kept = jnp.where(spike, target, n)
        scale = jnp.where(spike, target / jnp.where(spike, n, 1), 1)
        usual = jnp.isfinite(n) & (n > 0)
        new = jax.tree.map(lambda x, old: jnp.where(usual, x, old), self._history(kept, s, warming), s)
        return jax.tree.map(lambda x: x * scale, g), new, {"norm": n, "scale": scale}

    def _history(self, n: Any, s: Any, warming: Any) -> Any:
        """The statistics after one more norm."""
        seen = s.norms + 1
        mean = jnp.where(warming, s.mean + (n - s.mean) / seen, ema(n, s.mean, self.alpha))
        # Welford's, which sums to the variance of all without a second pass.
        spread = jnp.minimum((n - s.mean) * (n - mean), LARGEST[n.dtype])
        var = jnp.where(warming, s.var + (spread - s.var) / seen, ema(square(n - mean), s.var, self.alpha))
        return Norms(mean, var, seen)


clip_by_zscore = lift(ZScoreClip, "clip_by_zscore", Joint)
