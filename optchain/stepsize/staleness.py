"""Learning rates that fall with the staleness of the gradient."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class Staleness(Rests):
    r"""Divides the update by the staleness of the gradient.

    .. math::
        u = g / \max(\tau, 1)

    The staleness :math:`\tau` is the extra argument `staleness`: how many steps were made since the parameters that
    the gradient was computed at. `delayed` gives it to the links within it; a loop with real workers gives it to the
    update. A step that has none passes `staleness=None`, and the update stays as it is.

    Fields: none.

    Shapes and dtypes: any.

    Differs from the paper: nothing.

    References:
        Zhang et al., 2015, equation 6 (staleness-aware learning rates). https://arxiv.org/abs/1511.05950

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.chain(oc.scale_by_staleness(), oc.sgd(0.1)), 4)
    """

    extras = ("staleness",)
    linear = True

    def update(self, g, s, p, t, staleness):
        return g if staleness is None else g / jnp.maximum(staleness, 1).astype(g.dtype), s


scale_by_staleness = lift(Staleness, "scale_by_staleness")
