"""What a state holds, by name: an entry for each link, and for what wrappers and chains keep themselves."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from optchain.core.states import STRUCTURE
from optchain.inspect.kinds import FOREIGN, is_chain, is_technique, is_wrapper, within
from optchain.inspect.nested import Keys, flat, nested

# The count that a wrapper hands to the links within as their `step`.
CLOCKS = {
    "accumulate": "emitted",
    "delayed": "taken",
    "differentially_private_accumulate": "emitted",
    "guard": "accepted",
}
# Wrappers beside whose `inner` others stand that count their own steps.
APART = ("lookahead", "outer_nesterov")


@dataclasses.dataclass(frozen=True)
class Entry:
    """The arrays of one link by their keys within it, or those of a wrapper or chain without what stands within.

    `name` is the dotted path of links; wrappers and chains add their kind, `"(guard)"`, `"outer.(chain)"`. `clock` is
    the count that schedules there read, None where nothing counts. `technique` is the name that a link's arrays are
    kept under, None for one of optax. `converts`: the arrays were read from optax, in whose precision they are.
    """

    name: str
    slots: dict[Keys, Any]
    clock: Any
    technique: str | None = None
    converts: bool = False

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
    return entries_within(nested(state))


def entries_within(node: Any) -> dict[str, Entry]:
    """The entries of a state in nested tables."""
    table: dict[str, Entry] = {}
    for entry in _walk(node, "", None):
        name, n = entry.name, 1
        while name in table:
            if entry.is_link:
                raise ValueError(f"two links of the state are called {name!r}; give one of them another name")
            n += 1
            name = f"{entry.name[:-1]}_{n})"
        table[name] = dataclasses.replace(entry, name=name)
    return table


def joined(*names: str) -> str:
    """A dotted path of links."""
    return ".".join(name for name in names if name)


def prefix_of(keys: Keys, states: list[Any]) -> str:
    """What the names of a state within a container of optax begin with: nothing where it is the only one."""
    return ".".join(keys) if len(states) > 1 else ""


def _walk(node: Any, path: str, clock: Any) -> Iterator[Entry]:
    """The entries of the state of a transformation; `clock` is the count that is handed to it."""
    if is_chain(node):
        clock = node["step"] if clock is None else clock
        yield Entry(joined(path, "(chain)"), {("step",): node["step"]}, clock)
        for name, link in node.get("links", {}).items():
            yield from _walk(link, joined(path, name), clock)
    elif is_wrapper(node):
        kind, own = next(((name, own) for name, own in node.items() if name not in STRUCTURE), ("", {}))
        clock = own[CLOCKS[kind]] if kind in CLOCKS else clock
        if own:
            yield Entry(joined(path, f"({kind})"), dict(flat(own)), clock, kind)
        yield from _walk(node.get("inner", {}), path, clock)
        for name, other in node.get("others", {}).items():
            yield from _walk(other, joined(path, name), None if kind in APART else clock)
    elif is_technique(node):
        ((name, own),) = node.items()
        slots = dict(flat(own))
        yield Entry(path, slots, slots.get(("count",)) if clock is None else clock, name)
    else:
        yield from _foreign(node, path, clock)


def _foreign(node: Any, path: str, clock: Any) -> Iterator[Entry]:
    """The entries of the state of a transformation of optax: one, and those of the states of ours within."""
    states = within(node)
    slots = {keys: x for keys, x in flat(node) if not any(keys[: len(prefix)] == prefix for prefix, _ in states)}
    if slots and states:
        yield Entry(joined(path, f"({FOREIGN})"), slots, clock)
    elif slots:
        yield Entry(path, slots, slots.get(("count",)) if clock is None else clock)
    for keys, state in states:
        yield from _walk(state, joined(path, prefix_of(keys, states)), clock)
