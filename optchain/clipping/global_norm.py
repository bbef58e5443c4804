"""Clipping by the norm of all gradients together."""

import jax

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import clip_factor, global_norm
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class GlobalNormClip(Rests):
    r"""Scales all updates down together, where their common norm exceeds a bound.

    .. math::
        n = \sqrt{\textstyle\sum_{leaves} \lVert g \rVert^2}, \qquad u = g \min(1, \mathrm{max\_norm} / n)

    Fields:
        max_norm: bound on the norm, in the units of g, > 0.

    Metrics: `norm`, the norm before clipping, and `scale`, the factor applied.

    Shapes and dtypes: any; the squares are added in float64, regardless of the dtype of the gradients. A NaN or
    infinity makes the norm non-finite, which the metric shows, and spoils the updates: refusing such a step is a
    guard's business. A norm beyond the largest number, 3.4e38 in float32, is infinite, and clips to 0; on TPUs, which
    have no wider range to add the squares in, one above the root of that, 1.8e19.
    Within `shard_map` it is that of the whole tree under `over_axes`.

    Differs from the paper: nothing.

    References:
        Pascanu, Mikolov and Bengio, 2012, Algorithm 1. https://arxiv.org/abs/1211.5063
    """

    max_norm: Positive

    core_ndim = None
    on_shards = True
    ignores_zeros = True
    metrics = ("norm", "scale")
    example = {"max_norm": 1.0}

    def update(self, g, s, p, t):
        n = global_norm(g)
        scale = clip_factor(n, self.max_norm)
        return jax.tree.map(lambda x: x * scale.astype(x.dtype), g), s, {"norm": n, "scale": scale}


clip_by_global_norm = lift(GlobalNormClip, "clip_by_global_norm", Joint)
