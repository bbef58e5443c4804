"""How matrices are dealt out to owners: which of them lie in stacks, and who has which of the rest."""

import functools
import heapq
from collections.abc import Sequence

PAYS = 1.2  # what the fullest owner holds or does with stacks alone, over that with a rest, from which on there is one

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

    Args:
        counts: the shape of the matrices of each stack, and how many there are.
        owners: how many owners there are.

    Returns:
        One owner for each remaining matrix, stack after stack.
    """
    remaining = [shape for shape, n in counts for _ in range(n % owners)]
    found = greedy([load(shape) for shape in remaining], owners) if remaining else []
    stacks, rest = fullest_of_stacks(counts, owners), fullest_of_rest(counts, owners, found)
    return tuple(found) if stacks > PAYS * rest else None


def fullest_of_stacks(counts: Sequence[tuple[Shape, int]], owners: int) -> float:
    """What the fullest owner holds or does, of an even part, where stacks are padded and dealt out in turn."""
    held, work, first = 0, [0] * owners, 0
    for shape, n in counts:
        entries, products = load(shape)
        held += entries * -(-n // owners)
        for place in range(n % owners):
            work[(first + place) % owners] += products
        first += n
    return _fullest(counts, owners, held, max(work))


def fullest_of_rest(counts: Sequence[tuple[Shape, int]], owners: int, found: Sequence[int]) -> float:
    """What the fullest owner holds or does, of an even part, where the rest has these owners."""
    held, work = [0] * owners, [0] * owners
    remaining = [shape for shape, n in counts for _ in range(n % owners)]
    for owner, shape in zip(found, remaining, strict=True):
        entries, products = load(shape)
        held[owner] += entries
        work[owner] += products
    full = sum(load(shape)[0] * (n // owners) for shape, n in counts)
    return _fullest(counts, owners, full + max(held), max(work))


def _fullest(counts: Sequence[tuple[Shape, int]], owners: int, held: int, work: int) -> float:
    """The greater part of both: entries that an owner holds, and work that it does beside that of full places."""
    entries, products = (max(sum(load(shape)[i] * n for shape, n in counts), 1) for i in range(2))
    full = sum(load(shape)[1] * (n // owners) for shape, n in counts)
    return max(held * owners / entries, (full + work) * owners / products)
