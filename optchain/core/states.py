"""Readers of states: whose state stands where is said by its keys, and no reader enters a slot.

A technique keeps its arrays under its own name, `{"scale_by_adam": {"count", "seen", "mu", "nu"}}`. A wrapper adds what
it holds, `{"lookahead": {...}, "inner": state, "others": {name: state}, "metrics": {...}}`, and a chain keeps
`{"step", "links": {name: state}, "metrics": {...}}`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from optchain.core.registry import registered

STATE_LAYOUT = 2  # the number of this layout; version 0.1 had the first
STRUCTURE = frozenset({"inner", "others", "links", "metrics", "step"})  # keys that are no technique's


def is_chain_state(x: Any) -> bool:
    """Whether this is the state of a chain."""
    return isinstance(x, dict) and x.keys() == {"step", "links", "metrics"} and isinstance(x["links"], dict)


def is_outer_state(x: Any) -> bool:
    """Whether this is the state of a chain or of a wrapper."""
    return is_chain_state(x) or (isinstance(x, dict) and "inner" in x and isinstance(x.get("metrics"), dict))


def is_state(x: Any) -> bool:
    """Whether this is the state of a definition."""
    return is_outer_state(x) or (_is_technique(x) and not x.keys() - registered().keys())


def holds_ours(state: Any) -> bool:
    """Whether this is the state of a definition, or one of optax with some of them within."""
    return bool(_states(state))


def owners(state: Any, prefix: str = "") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """What each technique keeps: the prefix of its numbers' names, its own name, and its table."""
    for keys, node in _states(state):
        inside = prefix + keys
        yield from ((inside, name, table) for name, table in node.items() if name not in STRUCTURE)
        if "inner" in node:
            yield from owners(node["inner"], inside)
        for name, other in {**node.get("links", {}), **node.get("others", {})}.items():
            yield from owners(other, f"{inside}{name}.")


def kept(state: Any, technique: str) -> list[dict[str, Any]]:
    """What one technique keeps, once for each place where it stands."""
    return [table for _, name, table in owners(state) if name == technique]


def metrics(state: Any) -> dict[str, jax.Array]:
    """The metrics in an optimizer state, by dotted name.

    `step` counts the updates of a chain; `<link>.<number>` is the value that the last update used, in a wrapper
    `<number>` of the technique within it; links and wrappers add what they compute anyway (`clip.norm`,
    `accumulate.dropped`, of a guard within a guard `guard_2.norm`). Chains inside optax's wrappers are found too: where
    a state holds several chains side by side, their names begin with the keys that lead to them.

    Args:
        state: what `init` or `update` of a chain, or of a wrapper around chains, returned; nnx and linen states too.

    Raises:
        ValueError: the state holds no chain.
    """
    if not any(is_outer_state(node) for _, node in _states(state)):
        raise ValueError("the state holds no chain and so no metrics; build the optimizer with optchain.chain")
    collected: dict[str, jax.Array] = {}
    for name, x in _metrics(state, "", keyed=True):
        if name in collected:
            raise ValueError("chains side by side in the state have no keys to tell them apart; read them one by one")
        collected[name] = x
    return collected


def names_within(state: Any) -> set[str]:
    """The names of the metrics in a state, of chains side by side each by the name within its own chain."""
    return {name for name, _ in _metrics(state, "", keyed=False)}


def without_metrics(state: Any) -> Any:
    """The state to checkpoint: metrics are left out, because what is watched may change before it is restored.

    Args:
        state: of any transformation.
    """
    return _rebuilt(lambda old: {}, state)


def with_metrics(state: Any, fresh: Any) -> Any:
    """A restored state with the metrics of a fresh one, ready for `update`.

    Args:
        state: what `without_metrics` made of the state of the same transformation.
        fresh: `tx.init(params)`.
    """
    return _rebuilt(lambda old, new: new, state, fresh)


def as_metrics(values: dict[str, Any]) -> dict[str, Any]:
    """Numbers as float32 scalars.

    A constant stays on the host, which costs no device; an array that is not traced is copied, because it may be the
    user's own, which a donated state must not take along.
    """
    shown: dict[str, Any] = {}
    for name, x in values.items():
        if isinstance(x, Tracer):
            shown[name] = jnp.asarray(x, jnp.float32)
        else:
            shown[name] = jnp.array(x, jnp.float32) if isinstance(x, jax.Array) else np.asarray(x, np.float32)
    return shown


def _rebuilt(function: Callable[..., Any], state: Any, *others: Any) -> Any:
    """The state with `function` of its metrics, and of those of the other states, in the place of its metrics."""
    if is_outer_state(state):
        new = {}
        for name, x in state.items():
            rest = [other[name] for other in others]
            if name == "metrics":
                new[name] = function(x, *rest)
            elif name == "inner":
                new[name] = _rebuilt(function, x, *rest)
            elif name in ("links", "others"):
                new[name] = {key: _rebuilt(function, y, *(other[key] for other in rest)) for key, y in x.items()}
            else:
                new[name] = x
        return new
    if isinstance(state, dict) or not jax.tree.leaves(state, is_leaf=is_outer_state):
        return state
    return jax.tree.map(
        lambda x, *rest: _rebuilt(function, x, *rest) if is_outer_state(x) else x, state, *others, is_leaf=is_state
    )


def _states(state: Any) -> list[tuple[str, dict[str, Any]]]:
    """The outermost states of definitions, each with the keys of optax's containers that lead to it, if dotted."""
    if is_state(state) or _is_technique(state):
        return [("", state)]
    places = [(path, node) for path, node in jax.tree.leaves_with_path(state, is_leaf=is_state) if is_state(node)]
    several = sum(is_outer_state(node) for _, node in places) > 1
    return [(_dotted(path) if several else "", node) for path, node in places]


def _is_technique(x: Any) -> bool:
    """Whether this is the state of one technique, which may be unknown to the registry where it stands in a chain."""
    if not isinstance(x, dict) or len(x) != 1:
        return False
    table = next(iter(x.values()))
    return isinstance(table, dict) and "count" in table and np.ndim(table["count"]) == 0


def _dotted(path: tuple[Any, ...]) -> str:
    keys = [getattr(key, "key", getattr(key, "idx", None)) for key in path]
    return "".join(f"{key}." for key in keys if key is not None)


def _metrics(state: Any, prefix: str, keyed: bool, around: tuple[str, ...] = ()) -> Iterator[tuple[str, jax.Array]]:
    for keys, node in _states(state):
        inside = prefix + (keys if keyed else "")
        if "links" in node:
            yield f"{inside}step", node["step"]
        owner = next((name for name in node if name not in STRUCTURE), "")
        # A wrapper within one of its kind has a number, as links of one technique have.
        number = f"_{around.count(owner) + 1}" if owner in around else ""
        for name, x in node.get("metrics", {}).items():
            head, dot, rest = name.partition(".")
            yield f"{inside}{head}{number if head == owner else ''}{dot}{rest}", x
        if "inner" in node:
            yield from _metrics(node["inner"], inside, keyed, (*around, owner))
        for name, other in {**node.get("links", {}), **node.get("others", {})}.items():
            yield from _metrics(other, f"{inside}{name}.", keyed)
