"""Parameters that are never negative."""

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.embeddings.sleep import Rests


@rule
class NonNegativeParameters(Rests):
    r"""Shortens the update so that no entry of the parameter falls below 0.

    .. math::
        u = \max(p + g, 0) - p

    It is the last link of a chain: the incoming update must be the step that is taken.

    Fields: none.

    Shapes and dtypes: any. It reads the parameters: `update` without them is an error. An entry that is stopped gets
    the update -p, so that it is exactly 0 after `apply_updates`; within `rows` one that begins below 0 stays as it is
    until a step touches its row.

    Differs from the paper: nothing.

    References:
        Lin, 2007, section 4 (projected gradients). doi:10.1162/neco.2007.19.10.2756

    >>> import optchain as oc
    >>> tx = oc.chain(oc.sgd(0.1), oc.keep_params_nonnegative())
    """

    needs_params = True

    def update(self, g, s, p, t):
        return jnp.where(p + g < 0, -p, g), s


keep_params_nonnegative = lift(NonNegativeParameters, "keep_params_nonnegative")
