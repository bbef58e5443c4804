"""Gradient centralization."""

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.core.whole import whole_mean


@rule
class Centralize:
    r"""Subtracts from the update of each output's weights their mean.

    .. math::
        u_{ij} = g_{ij} - \frac{1}{m} \sum_{k=1}^{m} g_{kj}

    where j counts the last axis, the outputs, and i all the others. Vectors and scalars pass.

    Fields: none.

    Shapes and dtypes: any. A kernel has its outputs last, as in Flax: (h, w, i, o) is centralized over its first three
    axes. For one with several axes of outputs, such as (d, heads, features), give a view with `as_matrices`. Leave
    embeddings out with a mask: they have no outputs.

    Differs from the paper: nothing. optax and torch take the first axis for the outputs, where torch has them: in
    optax too the mean is over the outputs of each input of a Flax kernel.

    References:
        Yong et al., 2020, equation 1. https://arxiv.org/abs/2004.01461

    >>> import optchain as oc
    >>> tx = oc.chain(oc.centralize(mask="*/kernel"), oc.scale_by_adam(), oc.scale_by_learning_rate(1e-3))
    """

    core_ndim = None
    on_shards = True

    def update(self, g, s, p, t):
        return g - whole_mean(g, tuple(range(g.ndim - 1)), keepdims=True) if g.ndim > 1 else g, s


centralize = lift(Centralize, "centralize")
