"""Why a guard rejected a step, and which leaf it was."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.holes import is_hole
from optchain.core.paths import names_of
from optchain.core.row_gradient import is_row_gradient
from optchain.core.spread import across
from optchain.core.states import kept
from optchain.core.whole import largest_over

# What `guard.reason` says of the last step: the index of the first reason that applies.
REASONS = (
    "accepted",
    "gradient not finite",
    "value not finite",
    "gradient norm above its limit",
    "value above its limit",
    "gradient norm is a spike",
    "value is a spike",
    "output not finite",
)
NONE = -1  # the index of no leaf


def has_spoiled(x: jax.Array) -> jax.Array:
    """Whether an array has a NaN or an infinity; of what is in memory this reads it and stores nothing."""
    return ~jnp.isfinite(jnp.max(jnp.abs(x), initial=0))


def first_spoiled(tree: Any, spoiled: Callable[[jax.Array], jax.Array] = has_spoiled) -> jax.Array:
    """The index of the first leaf with a NaN or an infinity, among the leaves of all parameters; -1 if there is none.

    Leaves that do not take part count, so that the index is the same wherever the guard stands.
    """
    leaves = jax.tree.leaves(tree, is_leaf=_is_place)
    index = jnp.asarray(NONE, jnp.int32)
    for i, x in reversed(list(enumerate(leaves))):
        if not _is_hole(x):
            index = jnp.where(spoiled(_numbers(x)), i, index)
    over = {name for x in leaves if not _is_hole(x) for name in across(_numbers(x))}
    if not over:
        return index
    none = len(leaves)  # so that of the devices' first ones the least is the first
    least = -largest_over(-jnp.where(index == NONE, none, index), tuple(sorted(over)))
    return jnp.where(least == none, NONE, least)


def rejection(state: Any, params: Any) -> str | None:
    """Why the last step was rejected, in words and with the path of the leaf that was not finite; None if it was not.

    Args:
        state: of a transformation with a `guard` in it, after a step, on the host.
        params: the parameters that the transformation steps, for the paths of their leaves; arrays or shapes.

    Raises:
        ValueError: no guard in the state.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> tx, params = oc.guard(oc.adamw(1e-3)), {"kernel": jnp.ones(2), "bias": jnp.ones(2)}
    >>> grads = {"kernel": jnp.array([1.0, jnp.nan]), "bias": jnp.ones(2)}
    >>> params, state = oc.apply(tx, grads, tx.init(params), params)
    >>> oc.rejection(state, params)
    "gradient not finite: leaf 'kernel'"
    """
    guards = kept(state, "guard")
    if not guards:
        raise ValueError("rejection: there is no guard in the state; see optchain.guard")
    paths = names_of(params, _is_place)
    for own in guards:
        reason, leaf = int(np.asarray(own["reason"])), int(np.asarray(own["leaf"]))
        if reason:
            return REASONS[reason] + (f": leaf {paths[leaf]!r}" if leaf != NONE else "")
    return None


def _is_hole(x: Any) -> bool:
    return x is None or is_hole(x)


def _is_place(x: Any) -> bool:
    """Whether this stands where the parameters have a leaf."""
    return _is_hole(x) or is_row_gradient(x)


def _numbers(x: Any) -> jax.Array:
    return x.values if is_row_gradient(x) else x
