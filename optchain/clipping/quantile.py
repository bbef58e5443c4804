"""Clipping by a quantile of the entries."""

import jax.numpy as jnp

from optchain.core.gather import gathered
from optchain.core.lift import lift
from optchain.core.numbers import Fraction
from optchain.core.rule import rule


@rule
class QuantileClip:
    r"""Limits the entries of each leaf to a quantile of their sizes.

    .. math::
        u = \min(\max(g, -c), c), \qquad c = Q_q(|g|)

    A few outliers are brought down to the rest, regardless of the units; with `quantile=1` everything passes.

    Fields:
        quantile: q, the part of the entries that pass, in [0, 1]; between two entries c is interpolated.

    Shapes and dtypes: any. It sorts each leaf. A NaN spoils its whole leaf.

    Differs from the paper: nothing: it is Winsorizing, of the sizes.

    References:
        Tukey, 1962 (Winsorizing). doi:10.1214/aoms/1177704711

    >>> import optchain as oc
    >>> tx = oc.chain(oc.clip_by_quantile(0.99, mask=oc.is_matrix), oc.adamw(1e-3))
    """

    quantile: Fraction = 0.99

    core_ndim = None

    def update(self, g, s, p, t):
        # A sort has no layout across a sharded axis.
        bound = jnp.quantile(gathered(jnp.abs(g), 0), self.quantile).astype(g.dtype)
        return jnp.clip(g, -bound, bound), s


clip_by_quantile = lift(QuantileClip, "clip_by_quantile")
