"""The parameters that a sparse transformation trains, before its first step too."""

from typing import Any

from optchain.core.states import kept
from optchain.pruning.masked import masked


def masked_params(state: Any, params: Any) -> Any:
    """The parameters with zeros outside the masks in a state.

    After a step of `sparse` they are so by themselves. Before the first one, or for any other parameters, such as an
    average that is kept outside of `sparse`, this makes them so.

    Args:
        state: an optimizer state that holds that of a `sparse`, or of several, wherever they stand.
        params: the parameters, or a tree like them.

    Raises:
        ValueError: the state holds no masks.
    """
    trees = masks_in(state)
    if not trees:
        raise ValueError(
            "masked_params: the state holds no masks; expected one of a transformation with `sparse` in it"
        )
    for masks in trees:
        params = masked(masks, params)
    return params


def masks_in(state: Any) -> list[Any]:
    """The masks of each `sparse` in a state: trees like the parameters that have some."""
    return [own["masks"] for own in kept(state, "sparse")]
