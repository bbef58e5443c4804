"""Which units each axis of a parameter counts, as a text says it, and where the units of a larger model come from."""

import dataclasses
import re
import zlib
from collections.abc import Iterable, Mapping

import numpy as np

UNNAMED = "_"
TOKEN = re.compile(r"\s*(?:\(([^()]*)\)|([^\s()]+))")
NAME = re.compile(r"/?[a-z]\w*|_")


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis: the units that it counts, of several the outermost first; those that are summed over are `summed`."""

    names: tuple[str, ...]
    summed: tuple[bool, ...]


@dataclasses.dataclass(frozen=True)
class Index:
    """Where the entries of an axis come from: their numbers before, and how many copies there are of each."""

    rows: np.ndarray
    counts: np.ndarray
    summed: np.ndarray  # the part of `counts` that belongs to units that are summed over


def axes_of(text: str) -> tuple[Axis, ...]:
    """The axes of a text such as `"_ hidden -> heads (copies size)"`.

    Raises:
        ValueError: a text of another form.
    """
    sides = text.split("->")
    if len(sides) != 2:
        raise ValueError(f"got {text!r}; expected the names of axes around one arrow, such as '_ -> hidden'")
    return tuple(axis for side, left in zip(sides, (True, False), strict=True) for axis in _axes(side, left, text))


def _axes(side: str, left: bool, text: str) -> Iterable[Axis]:
    if re.sub(TOKEN, "", side).strip():
        raise ValueError(f"got {text!r}; expected names of axes, groups of them in brackets, and an arrow")
    for group, single in TOKEN.findall(side):
        names = group.split() if group else [single]
        wrong = next((name for name in names if not NAME.fullmatch(name)), None)
        if wrong is not None or not names:
            raise ValueError(f"got {text!r}; {wrong!r} is not the name of an axis: expected lower-case letters or _")
        summed = tuple(name != UNNAMED and (left or name.startswith("/")) for name in names)
        yield Axis(tuple(name.removeprefix("/") for name in names), summed)


def sizes(leaves: Iterable[tuple[str, tuple[Axis, ...], tuple[int, ...]]]) -> dict[str, int]:
    """How many units there are of each name, from the shapes of the leaves that count them.

    Raises:
        ValueError: a text that does not fit its leaf, or two sizes of one name.
    """
    found: dict[str, int] = {}
    groups = []
    for path, axes, shape in leaves:
        if len(axes) != len(shape):
            raise ValueError(f"{path!r} has {len(shape)} axes, and its text names {len(axes)}")
        groups += [(path, axis, n) for axis, n in zip(axes, shape, strict=True)]
    for _ in range(len(groups) + 1):  # a group may need the size of a name that a later leaf has alone
        for path, axis, n in groups:
            unknown = [name for name in axis.names if name == UNNAMED or name not in found]
            known = int(np.prod([found[name] for name in axis.names if name in found]))
            if n % known or (not unknown and n != known):
                raise ValueError(f"{path!r} has an axis of {n}, where {' '.join(axis.names)} are {known}")
            if len(unknown) == 1 and unknown[0] != UNNAMED:
                found[unknown[0]] = n // known
    lost = sorted({name for _, axis, _ in groups for name in axis.names} - {UNNAMED} - found.keys())
    if lost:
        raise ValueError(f"no leaf says how many {lost[0]!r} there are; name them alone along an axis of one")
    return found


def dealt(name: str, before: int, after: int, seed: int) -> np.ndarray:
    """For each unit of the larger model the one that it is a copy of: the first ones are themselves, and the copies are
    dealt out evenly; which of them have one more is drawn.

    Raises:
        ValueError: there are fewer now.
    """
    if after < before:
        raise ValueError(f"the units {name!r} were {before} and would be {after}; a growth makes nothing smaller")
    full = np.tile(np.arange(before), after // before)
    draw = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return np.concatenate([full, draw.permutation(before)[: after % before]])


def index(axis: Axis, before: int, after: int, units: Mapping[str, np.ndarray], old: Mapping[str, int]) -> Index | None:
    """Where the entries of an axis come from; None if they are what they were."""
    if not any(name in units for name in axis.names):
        return None
    known = int(np.prod([old[name] for name in axis.names if name in old]))
    lengths = [old.get(name, before // known) for name in axis.names]
    maps = [units.get(name, np.arange(n)) for name, n in zip(axis.names, lengths, strict=True)]
    rows, counts, summed = np.zeros(1, int), np.ones(1, int), np.ones(1, int)
    for n, of, is_summed in zip(lengths, maps, axis.summed, strict=True):
        copies = np.bincount(of, minlength=n)[of]
        rows = (rows[:, None] * n + of).reshape(-1)
        counts = (counts[:, None] * copies).reshape(-1)
        summed = (summed[:, None] * (copies if is_summed else np.ones_like(copies))).reshape(-1)
    assert len(rows) == after, "sizes have been checked"
    return Index(rows, counts, summed)
