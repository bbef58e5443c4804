"""Clipping by the root mean square of each leaf."""

from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import clip_factor, rms
from optchain.core.rule import rule


@rule
class BlockRmsClip:
    r"""Scales the update of each leaf down, where its root mean square exceeds a bound.

    .. math::
        u = \frac{g}{\max(1, \mathrm{RMS}(g) / d)}

    After adaptive moments, whose updates have a root mean square of about 1, it bounds what spikes do to them.

    Fields:
        threshold: d, in the units of g, > 0; 1 in the paper.

    Shapes and dtypes: any; the mean is taken in float32. A NaN or infinity spoils its whole leaf.

    Differs from the paper: nothing.

    References:
        Shazeer and Stern, 2018, section 6. https://arxiv.org/abs/1804.04235

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_rms(), oc.clip_by_block_rms(1.0), oc.scale_by_learning_rate(1e-2))
    """

    threshold: Positive

    core_ndim = None
    on_shards = True
    example = {"threshold": 0.5}

    def update(self, g, s, p, t):
        return g * clip_factor(rms(g), self.threshold), s


clip_by_block_rms = lift(BlockRmsClip, "clip_by_block_rms")
