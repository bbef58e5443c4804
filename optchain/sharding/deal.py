"""How matrices are dealt out to owners: which of them lie in stacks, and who has which of the rest."""

import functools
import heapq
from collections.abc import Sequence

PAYS = 1.2  # the entries or the work of the fullest owner with stacks alone, over those with a rest

Shape = tuple[int, ...]
Load = tuple[int, int]


def load(shape: Shape) -> Load:
    """What a matrix asks of its owner: entries, and products of numbers as in one product with its smaller square."""
    entries = 1
    for n in shape:
        entries *= n
    return entries, entries * min(shape, default=1)


def greedy(loads: Sequence[Load], owners: int) -> list[int]:
    """The owner of each load: the largest goes first, to the owner that is least full.

    How large a load is, and how full an owner, is the greater of two shares: that of all entries and that of all work.
    """
    totals = [max(sum(column), 1) for column in zip(*loads, strict=True)]
    shares = [tuple(x / total for x, total in zip(own, totals, strict=True)) for own in loads]
    order = sorted(range(len(loads)), key=lambda i: (-max(shares[i]), i))
    fullness = [(0.0, owner, (0.0, 0.0)) for owner in range(owners)]
    found = [0] * len(loads)
    for i in order:
        _, owner, held = fullness[0]
        held = held[0] + shares[i][0], held[1] + shares[i][1]
        heapq.heapreplace(fullness, (max(held), owner, held))
        found[i] = owner
    return found


@functools.lru_cache
def rest_of(counts: tuple[tuple[Shape, int], ...], owners: int) -> tuple[int, ...] | None:
    """The owners of what remains of each stack beyond a multiple of the owners, or None where stacks do as well.

    There is a rest where it pays: with stacks alone the fullest owner holds, or does, more than `PAYS` times as much,
    and with the rest it has no more of the other than before, or at most `PAYS` times an even part. So stacks that fit
    stay as they are, and so does one matrix that is larger than all others together.

    Args:
        counts: the shape of the matrices of each stack, and how many there are.
        owners: how many owners there are.

    Returns:
        One owner for each remaining matrix, stack after stack.
    """
    remaining = [shape for shape, n in counts for _ in range(n % owners)]
    found = greedy([load(shape) for shape in remaining], owners) if remaining else []
    pairs = [*zip(fullest_of_stacks(counts, owners), fullest_of_rest(counts, owners, found), strict=True)]
    pays = any(padded > PAYS * rest for padded, rest in pairs) and all(rest <= max(x, PAYS) for x, rest in pairs)
    return tuple(found) if pays else None


def fullest_of_stacks(counts: Sequence[tuple[Shape, int]], owners: int) -> tuple[float, float]:
    """The entries and the work of the fullest owner over those of an even deal, where stacks are padded and dealt out
    in turn."""
    work, first = [0] * owners, 0
    for shape, n in counts:
        for place in range(n % owners):
            work[(first + place) % owners] += load(shape)[1]
        first += n
    return _beside_even(counts, owners, sum(load(shape)[0] for shape, n in counts if n % owners), max(work))


def fullest_of_rest(counts: Sequence[tuple[Shape, int]], owners: int, found: Sequence[int]) -> tuple[float, float]:
    """The entries and the work of the fullest owner over those of an even deal, where the rest has these owners."""
    held, work = [0] * owners, [0] * owners
    remaining = [shape for shape, n in counts for _ in range(n % owners)]
    for owner, shape in zip(found, remaining, strict=True):
        entries, products = load(shape)
        held[owner] += entries
        work[owner] += products
    return _beside_even(counts, owners, max(held), max(work))


def _beside_even(counts: Sequence[tuple[Shape, int]], owners: int, entries: int, work: int) -> tuple[float, float]:
    """What the fullest owner has over an even part of all, with these entries and this work beside its full places."""
    parts = []
    for i, over in enumerate((entries, work)):
        full, total = (sum(load(shape)[i] * n for shape, n in places) for places in (_full(counts, owners), counts))
        parts.append((full + over) * owners / max(total, 1))
    return parts[0], parts[1]


def _full(counts: Sequence[tuple[Shape, int]], owners: int) -> list[tuple[Shape, int]]:
    """The places of each stack that are filled at all owners."""
    return [(shape, n // owners) for shape, n in counts]
