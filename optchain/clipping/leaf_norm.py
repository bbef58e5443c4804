"""Clipping by the norm of each leaf."""

from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import clip_factor, norm
from optchain.core.rule import rule


@rule
class LeafNormClip:
    r"""Scales the update of each leaf down, where its own norm exceeds a bound.

    .. math::
        u = g \min(1, \mathrm{max\_norm} / \lVert g \rVert)

    Fields:
        max_norm: bound on the norm of each leaf, in the units of g, > 0.

    Shapes and dtypes: any; the norm is summed in float64. A NaN or infinity spoils its whole leaf.

    Differs from the paper: each leaf has a norm of its own (`clipnorm` of Keras); for the norm of all leaves together
    see `clip_by_global_norm`.

    References:
        Pascanu, Mikolov and Bengio, 2012, Algorithm 1. https://arxiv.org/abs/1211.5063
    """

    max_norm: Positive

    core_ndim = None
    on_shards = True
    example = {"max_norm": 1.0}

    def update(self, g, s, p, t):
        return g * clip_factor(norm(g), self.max_norm), s


clip_by_leaf_norm = lift(LeafNormClip, "clip_by_leaf_norm")
