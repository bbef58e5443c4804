"""The parameters to be evaluated, from the state of the technique that averages them."""

from collections.abc import Callable
from typing import Any

from optchain.averaging import ema_nesterov, schedule_free
from optchain.core.door import widened
from optchain.core.holes import filled
from optchain.core.states import owners
from optchain.pruning.masked_params import masked_params, masks_in


def averaged_params(state: Any, params: Any = None) -> Any | None:
    """The parameters to evaluate, in float32 or wider, or None where nothing averages or displaces those trained.

    That is the average of `average_params`, `polyak_average` or `schedule_free`, the slow weights of `lookahead` or
    `outer_nesterov`, the center of `elastic_average`, the iterate of `ema_nesterov`, or the snapshot of
    `snapshot_params`; masked where the state holds masks of `sparse`.

    Args:
        state: an optimizer state that holds one of these, wherever it stands.
        params: the parameters that are trained, which `schedule_free` and `ema_nesterov` need. What has no average
            (frozen or masked out, an integer, `None`) is taken from them, or left out without them.

    Raises:
        ValueError: more than one link keeps an average, or one that needs the parameters, which were not given.
    """
    averages = [(name, table) for _, name, table in owners(state) if name in READERS]
    if len(averages) > 1:
        raise ValueError(f"{len(averages)} links keep an average; read the one you mean from state['links']")
    if not averages:
        return None
    name, table = averages[0]
    reader = READERS[name]
    if callable(reader) and params is None:
        raise ValueError("the average is computed from the parameters and the state: averaged_params(state, params)")
    average = reader(table, params) if callable(reader) else table[reader]
    average = masked_params(state, average) if masks_in(state) else average
    return average if params is None else widened(filled(average, params))


# By technique: the slot that is the average, or how it is computed from the parameters that are displaced.
READERS: dict[str, str | Callable[[Any, Any], Any]] = {
    "average_params": "average",
    "polyak_average": "average",
    "snapshot_params": "snapshot",
    "lookahead": "slow",
    "outer_nesterov": "outer",
    "elastic_average": "center",
    "schedule_free": schedule_free.averaged,
    "ema_nesterov": ema_nesterov.iterate,
}
