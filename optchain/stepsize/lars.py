"""The local learning rate of LARS."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import norm
from optchain.core.rule import rule


@rule
class LayerwiseRate:
    r"""Adds the weight decay to the update of each leaf and scales both to the norm of its parameter.

    .. math::
        u = c\, \frac{\lVert p \rVert}{\lVert g \rVert + \lambda \lVert p \rVert + \epsilon}\, (g + \lambda p)

    The factor is 1 where either norm is 0. The optimizer `lars` puts the learning rate and then
    the momentum after it.

    Fields:
        weight_decay: :math:`\lambda`, at least 0.
        trust_coefficient: c, the local learning rate, at least 0.
        eps: :math:`\epsilon`, added to the norms, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A leaf outside the mask (biases, scales) is neither decayed nor scaled.

    Differs from the paper: :math:`\epsilon`, which is 0 there. optax scales by the norm of
    :math:`g + \lambda p` instead of the sum of the two norms: the same without decay.

    References:
        You, Gitman and Ginsburg, 2017, Algorithm 1. https://arxiv.org/abs/1708.03888

    >>> import optchain as oc
    >>> tx = oc.lars(1.0, weight_decay=1e-4, mask=oc.is_kernel)
    """

    weight_decay: NonNegative = 0.0
    trust_coefficient: NonNegative = 0.001
    eps: NonNegative = 0.0

    core_ndim = None
    on_shards = True
    needs_params = True

    def update(self, g, s, p, t):
        p_norm, g_norm = norm(p), norm(g)
        none = (p_norm == 0) | (g_norm == 0)
        divisor = jnp.where(none, 1, g_norm + self.weight_decay * p_norm + self.eps)
        local = jnp.where(none, 1, self.trust_coefficient * p_norm / divisor)
        return (g + self.weight_decay * p) * local, s


scale_by_lars = lift(LayerwiseRate, "scale_by_lars")
