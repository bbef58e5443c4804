"""What a state holds, by name: an entry for each link, and for what wrappers and chains keep themselves."""

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.metrics import without_metrics
from optchain.core.paths import lasting
from optchain.inspect.config import techniques

Keys = tuple[str, ...]

# One key of a path as `jax.tree_util.keystr` writes it.
KEY = re.compile(r"""\['([^']*)'\]|\["([^"]*)"\]|\[(\d+)\]|\.(\w+)""")

# The count that a wrapper hands to the links within as their `step`.
CLOCKS = {"accumulate": "emitted", "guard": "accepted"}


@dataclasses.dataclass(frozen=True)
class Entry:
    """The arrays of one link by their keys within it, or those of a wrapper or chain without what stands within.

    `name` is the dotted path of links; wrappers and chains add their kind, `"(guard)"`, `"outer.(chain)"`. `clock` is
    the count that schedules there read, None where nothing counts.
    """

    name: str
    slots: dict[Keys, Any]
    clock: Any

    @property
    def is_link(self) -> bool:
        """Whether this is a link, or else what a wrapper or a chain keeps itself."""
        return not self.name.endswith(")")


def entries(state: Any) -> dict[str, Entry]:
    """The entries of a state by name, from the outermost inwards; metrics, and what holds nothing, have none.

    A table from paths as `jax.tree_util.keystr` writes them to arrays, such as an npz file, is a state too.

    Raises:
        ValueError: two links of one name.
    """
    found: dict[str, Entry] = {}
    for entry in _walk(without_metrics(_nested(keyed(state))), "", None):
        name, n = entry.name, 1
        while name in found:
            if entry.is_link:
                raise ValueError(f"two links of the state are called {name!r}; give one of them another name")
            n += 1
            name = f"{entry.name[:-1]}_{n})"
        found[name] = dataclasses.replace(entry, name=name)
    return found


def keyed(state: Any) -> list[tuple[Keys, Any]]:
    """The arrays of a state with the keys that lead to them, whatever the containers."""
    if isinstance(state, Mapping) and state and all(_is_keystr(name) for name in state):
        return [(_parsed(name), state[name]) for name in state]
    return [(keys_of(path), x) for path, x in jax.tree.leaves_with_path(without_metrics(state))]


def keys_of(keypath: tuple[Any, ...]) -> Keys:
    """A path as strings, without the `.value` of nnx at its end."""
    return tuple(jax.tree_util.keystr((key,), simple=True) for key in lasting(keypath))


def joined(*names: str) -> str:
    """A dotted path of links."""
    return ".".join(name for name in names if name)


def _is_keystr(name: Any) -> bool:
    return isinstance(name, str) and re.fullmatch(f"({KEY.pattern})+", name) is not None


def _parsed(name: str) -> Keys:
    keys = [key.group(key.lastindex) for key in KEY.finditer(name)]  # pyright: ignore
    return tuple(keys[:-1] if name.endswith(".value") else keys)


def _nested(pairs: Iterable[tuple[Keys, Any]]) -> Any:
    root: dict[str, Any] = {}
    for keys, x in pairs:
        *parents, last = ("state", *keys)
        node = root
        for key in parents:
            node = node.setdefault(key, {})
        node[last] = x
    return root.get("state", {})


def _walk(node: Any, path: str, clock: Any) -> Iterator[Entry]:
    """The entries of the state of a transformation; `clock` is the count that is handed to it."""
    keys = set(node) - {"metrics"} if isinstance(node, dict) else set()
    if keys in ({"step"}, {"step", "links"}) and not isinstance(node["step"], dict):
        clock = node["step"] if clock is None else clock
        yield Entry(joined(path, "(chain)"), {("step",): node["step"]}, clock)
        for name, link in node.get("links", {}).items():
            yield from _walk(link, joined(path, name), clock)
    elif keys == {"others"} or isinstance(node, dict) and isinstance(node.get("inner"), dict):
        own = {name: x for name, x in node.items() if name not in ("inner", "others", "metrics")}
        if own:
            kind = _kind(set(own))
            clock = own[CLOCKS[kind]] if kind in CLOCKS else clock
            yield Entry(joined(path, f"({kind})"), dict(_leaves(own)), clock)
        yield from _walk(node.get("inner", {}), path, clock)
        for name, other in node.get("others", {}).items():
            yield from _walk(other, joined(path, name), clock)
    else:
        slots = dict(_leaves(node))
        if slots:
            yield Entry(path, slots, slots.get(("count",)) if clock is None else clock)


def _leaves(node: Any, keys: Keys = ()) -> Iterator[tuple[Keys, Any]]:
    if isinstance(node, dict):
        for key, x in node.items():
            yield from _leaves(x, (*keys, key))
    else:
        yield keys, node


def _kind(own: set[str]) -> str:
    """The technique of a wrapper, told by the names of its own arrays; those names where it is none of ours."""
    fitting = [(len(names), kind) for kind, names in _wrappers().items() if names <= own]
    return max(fitting)[1] if fitting else " ".join(sorted(own))


@functools.cache
def _wrappers() -> dict[str, set[str]]:
    """The names of the arrays that every wrapper of ours keeps itself, by technique."""
    found, params = {}, {"w": jax.ShapeDtypeStruct((2, 2), jnp.float32)}
    make: Any
    for name, make in techniques().items():
        tx = make(**make.example) if hasattr(make, "example") else None
        if hasattr(getattr(tx, "link", None), "inner"):
            state = jax.eval_shape(tx.init, params)  # pyright: ignore
            found[name] = {keys[0] for keys, _ in keyed(state)} - {"inner", "others"}
    return {name: own for name, own in found.items() if own}
