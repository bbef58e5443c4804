"""A state in tables of its keys, regardless of the containers, live or as a checkpoint gives it back."""

import collections
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

Keys = tuple[str, ...]

# One key of a path as `jax.tree_util.keystr` writes it.
KEY = re.compile(r"""\['([^']*)'\]|\["([^"]*)"\]|\[(\d+)\]|\.(\w+)""")


def nested(state: Any) -> Any:
    """The arrays of a state in tables by their keys, regardless of the containers; what is empty is left out."""
    return tables(dict(_keyed(state)))


def tables(slots: Mapping[Keys, Any]) -> Any:
    """Arrays in nested tables by their keys."""
    root: dict[str, Any] = {}
    for keys, x in slots.items():
        *parents, last = ("state", *keys)
        node = root
        for key in parents:
            node = node.setdefault(key, {})
            if not isinstance(node, dict):
                raise ValueError(f"the state holds an array and a table of arrays under one name, {'/'.join(keys)!r}")
        node[last] = x
    return root.get("state", {})


def flat(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    """The arrays of nested tables with their keys."""
    if isinstance(node, dict):
        for key, x in node.items():
            yield from flat(x, (*keys, key))
    else:
        yield keys, node


def plain(keys: Keys) -> str:
    """Keys as one name, the same for keys that were joined by slashes or dots, all of them or some."""
    return "/".join(keys).replace(".", "/")


def keys_of(keypath: tuple[Any, ...]) -> Keys:
    """A path as strings, without the `.value` of nnx at its end."""
    return _keys(lasting(keypath))


def lasting(keypath: tuple[Any, ...]) -> tuple[Any, ...]:
    """The keys without the `.value` that nnx appends to those of a variable in a state."""
    return keypath[:-1] if keypath and getattr(keypath[-1], "name", None) == "value" else keypath


def _keyed(state: Any) -> Iterator[tuple[Keys, Any]]:
    """The arrays with the keys that lead to them, without the `.value` that nnx appends to those of a variable."""
    if isinstance(state, Mapping) and state and all(_is_keystr(name) for name in state):
        pairs = [(_parsed(name), name.endswith(".value"), x) for name, x in state.items()]
    elif isinstance(state, Mapping) and (separator := _separator(state)):
        pairs = [(tuple(name.split(separator)), False, x) for name, x in state.items()]
    else:
        leaves = jax.tree.leaves_with_path(state)
        pairs = [(_keys(path), len(lasting(path)) < len(path), x) for path, x in leaves]
    around = collections.Counter(keys[:n] for keys, _, _ in pairs for n in range(len(keys)))
    for keys, is_value, x in pairs:
        # What has siblings is a field of a state of optax.
        yield keys[:-1] if is_value and around[keys[:-1]] == 1 else keys, x


def _keys(keypath: tuple[Any, ...]) -> Keys:
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in keypath)


def _is_keystr(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(f"({KEY.pattern})+", name) is not None


def _separator(state: Mapping[Any, Any]) -> str | None:
    """What joins the keys of the arrays in a flat table, as in `a/b` or `a.b`; None if the table is not flat."""
    if not all(isinstance(name, str) and jax.tree_util.all_leaves([x]) for name, x in state.items()):
        return None
    return next((separator for separator in "/." if any(separator in name for name in state)), None)


def _parsed(name: str) -> Keys:
    return tuple(key.group(key.lastindex) for key in KEY.finditer(name))  # pyright: ignore
