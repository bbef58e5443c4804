"""A state of optax in pieces, one for each of its transformations, in the order in which they step."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from optchain.inspect.entries import joined
from optchain.inspect.nested import Keys, flat, plain
from optchain.inspect.optax_states import CONTAINERS, COUNTS_APART, INJECTED, SILENT, Fields, is_known

Scope = Keys  # the container within which steps are counted together, and the labels of partitions in it


@dataclasses.dataclass(frozen=True)
class Piece:
    """What one transformation of optax keeps, or a container of them apart from what stands within.

    `keys` lead to it, `title` is that of a container; `clock` is the count that schedules there have reached, None if
    nothing counts.
    """

    keys: Keys
    title: str
    fields: dict[str, Any]
    scope: Scope
    clock: Any = None

    @property
    def name(self) -> str:
        """The position, as `renames` calls it."""
        return joined(*self.keys, self.title)

    @property
    def kind(self) -> frozenset[str]:
        return frozenset(self.fields) - SILENT

    @property
    def leaves(self) -> set[str]:
        """The parameters that it is about; none where it only counts."""
        return {plain(keys[1:]) for keys, _ in flat(self.fields) if len(keys) > 1}

    def reads(self, fields: Fields) -> bool:
        return self.kind == set(fields.values()) - SILENT


def pieces_of(state: Any) -> list[Piece]:
    """The pieces of a state of optax in nested tables."""
    return _with_clocks(list(_walked(state)))


def _walked(node: Any, keys: Keys = (), scope: Scope = ("",)) -> Iterator[Piece]:
    """The states in the tables of a state of optax, in its order."""
    field = next((field for field in CONTAINERS if isinstance(node, dict) and field in node), None)
    if field is not None:
        title, inside = CONTAINERS[field]
        inner, rest = node.get(inside, {}), {key: x for key, x in node.items() if key != inside}
        scope = (joined(*keys, title),) if field in COUNTS_APART else scope
        if rest:
            yield Piece(keys, title, rest, scope)
        labels = inner if field == "inner_states" else {}
        for label, state in labels.items():
            yield from _walked(state, (*keys, label), (*scope, label))
        if inner and not labels:
            yield from _walked(inner, keys, scope)
    elif isinstance(node, dict) and not is_known(node) and _holds_states(node):
        for key, state in node.items():
            yield from _walked(state, (*keys, key), scope)
    else:
        yield Piece(keys, "", node if isinstance(node, dict) else {"": node}, scope)


def _holds_states(node: dict[str, Any]) -> bool:
    """Whether this is the tuple of a chain, whose keys are numbers, or the table of a named chain."""
    if all(key.isdigit() for key in node):
        return True
    return all(isinstance(x, dict) and (is_known(x) or _holds_states(x)) for x in node.values())


def _with_clocks(pieces: list[Piece]) -> list[Piece]:
    """The pieces with the counts that schedules have reached in their scopes: a schedule's own, or any other."""
    counts: dict[Scope, Any] = {}
    for piece in sorted(pieces, key=lambda piece: not piece.kind <= INJECTED):
        for field in ("gradient_step", "count"):
            if field in piece.fields:
                counts.setdefault(piece.scope, piece.fields[field])

    def clock(scope: Scope) -> Any:
        return next((counts[scope[:n]] for n in range(len(scope), 0, -1) if scope[:n] in counts), None)

    return [dataclasses.replace(piece, clock=clock(piece.scope)) for piece in pieces]
