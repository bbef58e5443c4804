"""The parameters to be evaluated, from the state of whatever averages them."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.averaging import ema_nesterov, schedule_free
from optchain.pruning.masked_params import masked_params, masks_in


def averaged_params(state: Any, params: Any = None) -> Any | None:
    """The parameters to evaluate, in float32 or wider, or None where nothing averages or displaces those trained.

    That is the average of `average_params`, `polyak_average` or `schedule_free`, the slow weights of `lookahead` or
    `outer_nesterov`, the iterate of `ema_nesterov`, or the snapshot of `snapshot_params`; masked where the state holds
    masks of `sparse`.

    Args:
        state: an optimizer state that holds one of these, wherever it stands.
        params: the parameters that are trained, which `schedule_free` and `ema_nesterov` need.

    Raises:
        ValueError: more than one link keeps an average, or one that needs the parameters, which were not given.
    """
    found = [x for x in jax.tree.leaves(state, is_leaf=_is_kept) if _is_kept(x)]
    if len(found) > 1:
        raise ValueError(f"{len(found)} links keep an average; read the one you mean from state['links']")
    if not found:
        return None
    kind = _kind(found[0])
    if kind not in DISPLACED:
        average = found[0][kind]
    elif params is None:
        raise ValueError("the average is found from the parameters and the state: averaged_params(state, params)")
    else:
        average = DISPLACED[kind](found[0], params)
    return masked_params(state, average) if masks_in(state) else average


DISPLACED = {"z": schedule_free.averaged, "mu": ema_nesterov.iterate}

# By all keys of the state, for a link or a parameter may be called `average` too; and the one that is wanted.
KEYS = {
    frozenset({"count", "average"}): "average",
    frozenset({"count", "snapshot"}): "snapshot",
    frozenset({"count", "slow", "inner", "others", "metrics"}): "slow",
    frozenset({"count", "outer", "inner", "others", "metrics"}): "outer",
    frozenset({"count", "z", "weight_sum", "b1", "inner", "metrics"}): "z",
    frozenset({"count", "mu", "beta", "inner", "metrics"}): "mu",
}


def _kind(x: Any) -> str | None:
    if not isinstance(x, dict) or frozenset(x) not in KEYS or isinstance(x["count"], dict):
        return None
    return KEYS[frozenset(x)] if jnp.shape(x["count"]) == () else None


def _is_kept(x: Any) -> bool:
    return _kind(x) is not None
