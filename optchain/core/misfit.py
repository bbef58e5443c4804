"""States that do not fit: what they are, and which of their arrays has another shape than `init` makes."""

from typing import Any

import jax
import numpy as np

from optchain.core.gather import mesh_of
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves, names_of


def another(owner: str, description: str, expected: str) -> ValueError:
    """The error of a state that is another one's."""
    cure = "create it with tx.init(params) and call update(grads, state, params)"
    return ValueError(f"{owner}: the state is {description}, expected {expected}; {cure}")


def described(state: Any) -> str:
    """What a state is that has not been recognised."""
    if not isinstance(state, dict):
        return "None" if state is None else f"a {type(state).__name__}"
    return f"one with {', '.join(map(repr, state))}" if state else "an empty dict"


def require_same_shapes(old: Any, new: Any) -> None:
    """The arrays of a state keep their shapes, which broadcasting could change."""
    if list(map(np.shape, jax.tree.leaves(old))) != list(map(np.shape, jax.tree.leaves(new))):
        raise ValueError("the arrays of the state would change their shapes")


def require_shapes_of_init(definition: Any, state: Any, params: Any) -> None:
    """The arrays of a state have the shapes that `init` makes, or an error names the first that has not.

    It is called where a step has failed: what else is wrong has errors of its own.
    """
    try:
        expected = jax.eval_shape(lambda: definition.init(params))
    except (TypeError, ValueError):
        return
    before, now = named_leaves(state, is_hole), dict(named_leaves(expected, is_hole))
    if dict(before).keys() != now.keys():
        return
    for path, x in before:
        made = now[path]
        if not is_hole(made) and (is_hole(x) or np.shape(x) != made.shape):
            shape = "no array" if is_hole(x) else f"shape {np.shape(x)}"
            ends = [leaf for leaf in names_of(params) if path.endswith(f"/{leaf}")]
            leaf = f"leaf {max(ends, key=len)!r}" if ends else "the parameter"
            problem = f"{path!r} has {shape} in the state, but {made.shape} for {leaf} as it is now"
            cure = "carry over what fits with migrate_state, or start again with tx.init(params)"
            if any(mesh_of(p).shape for p in jax.tree.leaves(params) if isinstance(p, jax.Array)):
                cure += "; that of another mesh goes by state_by_parameters there and state_by_owners here"
            raise ValueError(f"{definition.name}: {problem}; {cure}")
