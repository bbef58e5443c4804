"""Normalized updates: by the norm of all leaves together."""

import jax

from optchain.core.joint import Joint
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Rate
from optchain.core.numerics import global_norm, unit_factor
from optchain.core.rule import rule


@rule
class UpdateNorm:
    r"""Scales all updates together to a given norm.

    .. math::
        n = \sqrt{\textstyle\sum_{leaves} \lVert g \rVert^2}, \qquad u = \frac{c\, g}{n + \epsilon}

    Fields:
        scale_factor: c, the norm of the updates, any finite number.
        eps: :math:`\epsilon`, in the units of g, at least 0.

    Metrics: `norm`, the norm before.

    Shapes and dtypes: any; the norm is summed in float64. Updates of 0 stay 0, without `eps` too. A NaN or infinity
    spoils all leaves.

    Differs from the paper: :math:`\epsilon`, which is 0 there.

    References:
        Hazan, Levy and Shalev-Shwartz, 2015, Algorithm 2. https://arxiv.org/abs/1507.02030

    >>> import optchain as oc
    >>> tx = oc.chain(oc.normalize_by_update_norm(), oc.scale_by_learning_rate(0.1))
    """

    scale_factor: Rate = 1.0
    eps: NonNegative = 1e-6

    core_ndim = None
    on_shards = True
    metrics = ("norm",)

    def update(self, g, s, p, t):
        n = global_norm(g)
        factor = unit_factor(n, self.scale_factor, self.eps)
        return jax.tree.map(lambda x: x * factor.astype(x.dtype), g), s, {"norm": n}


normalize_by_update_norm = lift(UpdateNorm, "normalize_by_update_norm", Joint)
