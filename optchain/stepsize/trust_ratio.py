"""The trust ratio: a step of each leaf in proportion to its parameter."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative
from optchain.core.numerics import norm
from optchain.core.rule import rule


@rule
class TrustRatio:
    r"""Scales the update of each leaf to the norm of its parameter.

    .. math::
        u = c\, \frac{\max(\lVert p \rVert, m)}{\max(\lVert g \rVert, m) + \epsilon}\, g

    The factor is 1 where either norm is 0. After the moments and the decay this makes LAMB of Adam.

    Fields:
        min_norm: m, the least that either norm counts for, at least 0.
        trust_coefficient: c, the norm of the update over that of the parameter, at least 0.
        eps: :math:`\epsilon`, added to the norm of the update, at least 0.

    Shapes and dtypes: any; the norms are summed in float64. It reads the parameters: `update` without them is an error.
    A NaN or infinity spoils its whole leaf. Layers that are stacked in one array share one ratio unless they are
    declared with `over_layers`.

    Differs from the paper: :math:`\phi` of LAMB is the identity, bounded from below by `min_norm`.

    References:
        You et al., 2019, Algorithm 2. https://arxiv.org/abs/1904.00962

    >>> import optchain as oc
    >>> tx = oc.chain(oc.scale_by_adam(), oc.scale_by_trust_ratio(), oc.scale_by_learning_rate(1e-3))
    """

    min_norm: NonNegative = 0.0
    trust_coefficient: NonNegative = 1.0
    eps: NonNegative = 0.0

    core_ndim = None
    on_shards = True
    needs_params = True

    def update(self, g, s, p, t):
        p_norm, g_norm = (jnp.maximum(norm(x), self.min_norm) for x in (p, g))
        none = (p_norm == 0) | (g_norm == 0)
        return g * jnp.where(none, 1, self.trust_coefficient * p_norm / jnp.where(none, 1, g_norm + self.eps)), s


scale_by_trust_ratio = lift(TrustRatio, "scale_by_trust_ratio")
