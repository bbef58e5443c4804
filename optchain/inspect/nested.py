"""A state in tables of its keys, whatever the containers, live or as a checkpoint gives it back."""

import collections
import re
from collections.abc import Iterator, Mapping
from typing import Any

import jax

Keys = tuple[str, ...]

# One key of a path as `jax.tree_util.keystr` writes it.
KEY = re.compile(r"""\['([^']*)'\]|\["([^"]*)"\]|\[(\d+)\]|\.(\w+)""")


def nested(state: Any) -> Any:
    """The arrays of a state in tables by their keys, whatever the containers; what is empty is left out."""
    root: dict[str, Any] = {}
    for keys, x in _keyed(state):
        *parents, last = ("state", *keys)
        node = root
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = x
    return root.get("state", {})


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


def _parsed(name: str) -> Keys:
    return tuple(key.group(key.lastindex) for key in KEY.finditer(name))  # pyright: ignore
