"""States of optax as those of the links that continue them, paired by kind and order, for their names are positions."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from optchain.core.numbers import at
from optchain.core.seen import LEAST
from optchain.inspect.entries import Entry, joined
from optchain.inspect.kinds import FOREIGN
from optchain.inspect.nested import Keys, flat, plain, tables
from optchain.inspect.optax_pieces import Piece, pieces_of
from optchain.inspect.optax_states import COUNT, INITIAL, INJECTED, READ, Fields
from optchain.inspect.pairing import Entries, Renames, target

Links = list[tuple[str, Any]]


@dataclasses.dataclass
class Place:
    """Where the new chain keeps one state: in an entry, all of it or, in one of optax, what begins with `prefix`."""

    entry: Entry
    readings: tuple[Fields, ...]
    prefix: Keys = ()
    pieces: list[Piece] = dataclasses.field(default_factory=list)

    def reading(self, piece: Piece) -> Fields | None:
        """The fields by slot as which a piece can stand here; None where it cannot."""
        fields = next((fields for fields in self.readings if piece.reads(fields)), None)
        if fields is None or not piece.leaves:
            return None if self.pieces else fields
        slots = [tuple(slot.split("/")) for slot in fields]
        held = {
            plain(keys[len(self.prefix) + len(slot) :])
            for keys in self.entry.slots
            for slot in slots
            if keys[: len(self.prefix) + len(slot)] == (*self.prefix, *slot)
        }
        taken = set().union(*(other.leaves for other in self.pieces))
        return fields if piece.leaves & held and not piece.leaves & taken else None


def from_optax(before: Entries, after: Entries, links: Links, renames: Renames) -> tuple[Entries, set[str], list]:
    """The entries of an old state, of which those of optax stand as entries of what continues them.

    Args:
        before: the entries of the old state.
        after: those of the new one.
        links: the definitions of the new transformation with their prefixes, in the order in which they step.
        renames: from old to new names of links, where those of optax are positions.

    Returns:
        The entries, the names of those that were read from optax, and what is wrong.
    """
    kept, read, problems = {}, {}, []
    for name, entry in before.items():
        to = target(name, renames)
        path = name.removesuffix(f"({FOREIGN})").removesuffix(".")
        root = target(path, renames)
        within = {} if root is None else _under(after, root)
        ours = any(x.technique is not None or not x.is_link for x in within.values())
        # A transformation of optax that both have continues as it is.
        same = to in after and after[to].technique is None and _same(entry, after[to])
        if entry.technique is not None or not _is_of_optax(name) or to is None or same or not ours:
            kept[name] = entry
            continue
        made, wrong = _continued(path, root or "", pieces_of(tables(entry.slots)), within, links, renames)
        read |= made
        problems += wrong
    return read | kept, read.keys() - kept.keys(), problems


def _same(old: Entry, new: Entry) -> bool:
    return {plain(keys) for keys in old.slots} == {plain(keys) for keys in new.slots}


def _is_of_optax(name: str) -> bool:
    return not name.endswith(")") or name.endswith(f"({FOREIGN})")


def _under(after: Entries, root: str) -> Entries:
    return {name: entry for name, entry in after.items() if root in ("", name) or name.startswith(f"{root}.")}


def _continued(
    path: str, root: str, pieces: list[Piece], within: Entries, links: Links, renames: Renames
) -> tuple[Entries, list[str]]:
    """The entries that the pieces of one state become, by old names, and what is wrong."""
    rank = {prefix: i for i, (prefix, _) in enumerate(links)}
    places = sorted(_places(within), key=lambda place: rank.get(_link(place.entry.name), len(rank)))
    continued, left = _paired(path, pieces, places, renames)
    made, problems = _left_over(path, left, links, renames)
    problems += _unsure(path, places, continued)
    clocks = {place.entry.clock: piece.clock for place in reversed(places) for piece in place.pieces[:1]}
    everywhere = next((piece.clock for piece in pieces if piece.clock is not None), None)
    for name, entry in within.items():
        here = [place for place in places if place.entry is entry and place.pieces]
        clock = clocks.get(entry.clock, everywhere)
        slots = {keys: x for place in here for keys, x in _filled(place, problems).items()}
        if not here and clock is not None and (name.endswith("(chain)") or set(entry.slots) == {("count",)}):
            slots = dict.fromkeys(entry.slots, clock)
        if slots:
            old = continued.get(name, joined(path, name[len(root) :].removeprefix(".")))
            clock = next((piece.clock for place in here for piece in place.pieces), clock)
            made[old] = Entry(old, slots, clock, entry.technique, converts=True)
    return made, problems


def _paired(
    path: str, pieces: list[Piece], places: list[Place], renames: Renames
) -> tuple[dict[str, str], list[Piece]]:
    """Put each piece into the first place that reads it; the positions by new names that were said, and what is left.

    Pieces of several labels of a partition may share a place, one parameter each.
    """
    continued = {to: joined(path, piece.name) for piece in pieces if (to := _said(path, piece, renames))}
    left = []
    for piece in pieces:
        name = joined(path, piece.name)
        said = _said(path, piece, renames)
        if name in renames and name != path and said is None:
            left.append(piece)
            continue
        able = (
            place
            for place in places
            if (place.entry.name == said if said else place.entry.name not in continued)
            and place.reading(piece) is not None
        )
        place = next(able, None)
        (left if place is None else place.pieces).append(piece)
    return continued, left


def _said(path: str, piece: Piece, renames: Renames) -> str | None:
    """The link in which a piece continues, where the user says so."""
    name = joined(path, piece.name)
    return renames.get(name) if name != path else None


def _left_over(path: str, left: list[Piece], links: Links, renames: Renames) -> tuple[Entries, list[str]]:
    """The entries of pieces that continue nowhere, to be reported, and those of which that is an error."""
    made, problems = {}, []
    for piece in left:
        name = joined(path, piece.name)
        if name in renames and name != path:
            made[name] = Entry(name, dict(flat(piece.fields)), piece.clock)
        elif piece.kind == INJECTED:
            # Numbers belong to the transformation here: those that it has too are not missed.
            last = max(int(piece.fields["count"]) - 1, 0)
            held = piece.fields["hyperparams"].items()
            numbers = {number: x for number, x in held if not _has(links, number, x, last)}
            made |= {joined(name, number): Entry(joined(name, number), {(): x}, None) for number, x in numbers.items()}
        elif piece.kind != COUNT:
            problems.append(_lost(name, piece))
    return made, problems


def _has(links: Links, name: str, x: Any, step: int) -> bool:
    """Whether a number of this name has this value in the new transformation."""
    values = [at(link.numbers[name], step) for _, link in links if name in link.numbers]
    return any(np.allclose(value, x, rtol=1e-6) for value in values)


def _places(within: Entries) -> Iterator[Place]:
    """Every place of the new chain that a state of optax may continue in."""
    for entry in within.values():
        if entry.technique in READ:
            yield Place(entry, READ[entry.technique])
        elif entry.technique is None and _is_of_optax(entry.name):
            for piece in pieces_of(tables(entry.slots)):
                yield Place(entry, ({field: field for field in piece.fields},), piece.keys)


def _filled(place: Place, problems: list[str]) -> dict[Keys, Any]:
    """The slots of a place, from all the pieces that continue there."""
    slots: dict[Keys, Any] = {}
    names = {plain(keys) for keys in place.entry.slots}
    for piece in place.pieces:
        fields = next(fields for fields in place.readings if piece.reads(fields))
        for slot, field in fields.items():
            for keys, x in flat({field: piece.fields[field]} if field in piece.fields else {}):
                at = (*place.prefix, *slot.split("/"), *keys[1:])
                # Optax keeps an array of one entry for each factor that a parameter does not have.
                if np.shape(x) == (1,) and plain(at) not in names:
                    continue
                x = 1 - jnp.asarray(x, jnp.int32) if field == INITIAL else x
                if slot == "count" and int(slots.setdefault(at, x)) != int(x):
                    counts = f"counted {int(slots[at])} and {int(x)} steps"
                    problems.append(f"parts of {place.entry.name!r} {counts}, which has one count for all parameters")
                slots[at] = x
        if ("count",) in place.entry.slots and "count" not in fields:
            slots[("count",)] = jnp.int32(0) if piece.clock is None else piece.clock
            # As optax takes it without a count: a mean that has seen all its weight.
            seen = [keys for keys in place.entry.slots if keys[0] == "seen" and piece.clock is None]
            slots |= {keys: jnp.float32(LEAST if keys[-1] == "log" else 0.0) for keys in seen}
    return slots


def _link(name: str) -> str:
    """The prefix of what keeps an entry."""
    return name if not name.endswith(")") else name.rpartition(".")[0]


def _described(fields: Mapping[str, Any]) -> str:
    return ", ".join(sorted(filter(None, fields))) or "an array"


def _lost(name: str, piece: Piece) -> str:
    cure = f"say where it continues, renames={{{name!r}: 'the link'}}, or drop it, renames={{{name!r}: None}}"
    return f"{name or 'the state'!r} of optax ({_described(piece.fields)}) has no counterpart in the new chain; {cure}"


def _unsure(path: str, places: list[Place], continued: Mapping[str, str]) -> Iterator[str]:
    """Places that were left empty although a piece that continues elsewhere fits there as well."""
    for empty in places:
        for place in places if not empty.pieces else ():
            for piece in place.pieces:
                if place.entry.name not in continued and piece.kind != COUNT and empty.reading(piece) is not None:
                    name, names = joined(path, piece.name), f"{place.entry.name!r} or {empty.entry.name!r}"
                    cure = f"say which, renames={{{name!r}: {place.entry.name!r}}}"
                    yield f"{name!r} of optax ({_described(piece.fields)}) may continue as {names}; {cure}"
