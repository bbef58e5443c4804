"""Sparse updates: an indicator chooses which entries move."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.dense import Dense
from optchain.core.law import Law
from optchain.core.lift import technique
from optchain.core.runner import Now
from optchain.core.transform import Transform, definition_of, transform
from optchain.masking.indicator import checked_bools
from optchain.moments.rms import scale_by_rms

Indicator = Callable[[jax.Array, Any], jax.Array]


def nonzero(g: jax.Array, p: Any) -> jax.Array:
    """An indicator: the entries whose gradient is not 0.

    Args:
        g: the gradient of one leaf.
        p: its parameter, which is not read.
    """
    return g != 0


@dataclasses.dataclass(frozen=True)
class SparseUpdate(Dense):
    """Runs an elementwise rule and holds back the entries that the indicator does not choose."""

    indicator: Indicator = nonzero
    lazy: bool = False

    def law(self, rule: Any, dtype: Any, now: Now) -> Law:
        law = super().law(rule, dtype, now)

        def held(g: Any, s: Any, p: Any, extras: dict[str, Any]) -> tuple[Any, Any]:
            moves = checked_bools(self.name, self.indicator(g, p), g)
            u, new = law(g, s, p, extras)
            if self.lazy:
                new = type(s)(*(jnp.where(moves, x, old) for x, old in zip(new, s, strict=True)))
            return jnp.where(moves, u, 0), new

        return held


@technique(tx=scale_by_rms())
def sparse_update(tx: Transform, indicator: Indicator = nonzero, lazy: bool = False) -> Transform:
    r"""Zeroes the update of a technique wherever an indicator says so.

    .. math::
        u' = \begin{cases} u & \text{where the indicator holds} \\ 0 & \text{elsewhere} \end{cases}

    The slots either see the full gradient everywhere, so that the second moment of an entry at rest decays (the sparse
    update of RMSProp in the literature on sparse training), or, when `lazy`, rest together with their entry.

    Args:
        tx: an elementwise technique of one link, such as `scale_by_rms(0.9)`.
        indicator: a function of the gradient and the parameter (None where `update` gets none) that returns bools of
            the gradient's shape.
        lazy: leave the slots of resting entries alone too.

    Differs from the paper: the count of a lazy entry is that of the link, so bias correction does not wait for it.

    Raises:
        ValueError: a technique that looks across entries, or one that is not a single link; an indicator
            that is no function, or, at trace time, that gives no bool for each entry.

    References:
        The lazy form is that of SparseAdam in PyTorch and of LazyAdam in TensorFlow.

    >>> import optchain as oc
    >>> tx = oc.sparse_update(oc.scale_by_rms(0.9), lazy=True)
    """
    link = definition_of(tx)
    if type(link) is not Dense:
        raise ValueError(f"sparse_update takes one technique, such as scale_by_rms(), got {tx!r}")
    if link.rule.core_ndim != 0:
        raise ValueError(f"sparse_update: {link.name} looks across entries (core_ndim is {link.rule.core_ndim}, not 0)")
    if not callable(indicator):
        raise ValueError(f"sparse_update: indicator must be a function of (gradient, parameter), got {indicator!r}")
    return transform(
        SparseUpdate(
            link.rule,
            f"sparse_{link.name}",
            link.mask,
            link.layers,
            link.views,
            link.storage,
            indicator=indicator,
            lazy=lazy,
        )
    )
