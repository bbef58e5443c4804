"""Normalized updates: by the norm of each leaf."""

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Rate
from optchain.core.numerics import norm, unit_factor
from optchain.core.rule import rule


@rule
class LeafNorm:
    r"""Scales the update of each leaf to a given norm.

    .. math::
        u = \frac{c\, g}{\lVert g \rVert + \epsilon}

    Fields:
        scale_factor: c, the norm of each leaf's update, any finite number.
        eps: :math:`\epsilon`, in the units of g, at least 0.

    Shapes and dtypes: any; the norm is summed in float64. An update of 0 stays 0, without `eps` too. A NaN or infinity
    spoils its whole leaf.

    Differs from the paper: :math:`\epsilon`, which is 0 there; a block is a leaf.

    References:
        Yu et al., 2017, Algorithm 1. https://arxiv.org/abs/1707.04822

    >>> import optchain as oc
    >>> tx = oc.chain(oc.trace(0.9), oc.normalize_by_leaf_norm(), oc.scale_by_learning_rate(0.1))
    """

    scale_factor: Rate = 1.0
    eps: NonNegative = 1e-6

    core_ndim = None
    on_shards = True

    def update(self, g, s, p, t):
        return g * unit_factor(norm(g), self.scale_factor, self.eps), s


normalize_by_leaf_norm = lift(LeafNorm, "normalize_by_leaf_norm")
