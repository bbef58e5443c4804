"""Signs of gradients."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class Sign(Rests):
    r"""Steps by the sign of the gradient.

    .. math::
        u = \operatorname{sign}(g)

    Fields: none.

    Shapes and dtypes: any; no slots. The sign of 0 is 0.

    Differs from the paper: nothing.

    References:
        Bernstein et al., 2018, Algorithm 1. https://arxiv.org/abs/1802.04434
    """

    def update(self, g, s, p, t):
        return jnp.sign(g), s


scale_by_sign = lift(Sign, "scale_by_sign")
