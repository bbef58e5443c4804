"""Slots in codes of leaves that lie together: in stacks, where each leaf has the codes and random bits it has alone."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from optchain.core.dense import Dense
from optchain.core.keeping import Keeping
from optchain.core.paths import named_leaves
from optchain.storage.rounding import random_bits_of_stack
from optchain.storage.storage import Storage


@dataclasses.dataclass(frozen=True)
class Coded:
    """The shapes of those slots of one leaf that are kept in few bits, by name."""

    slots: Mapping[str, tuple[int, ...]]
    stacks: bool  # whether the blocks in a stack of such leaves are those of each leaf


def coded_slots(link: Dense, params: Any) -> list[Coded]:
    """For each parameter which slots a technique keeps in few bits."""
    storage = link.storage
    if not isinstance(storage, Storage):
        return [Coded({}, True) for _ in jax.tree.leaves(params)]
    found = []
    for slots in storage.coded(params, link.shapes(params)):
        shapes = {slot: x.shape for slot, x in slots.items()}
        found.append(Coded(shapes, all(storage.formats[slot].stacks(shape) for slot, shape in shapes.items())))
    return found


def in_stacks(storage: Keeping, members: Mapping[str, tuple[Sequence[str], Mapping[str, int]]]) -> Keeping:
    """How slots are kept where leaves lie together.

    Args:
        storage: how they are kept where each leaf is by itself.
        members: by the name of each array the names of its leaves, and how many entries one leaf has of each slot that
            is kept in few bits.
    """
    if not isinstance(storage, Storage):
        return storage
    return Stacked(storage.formats, storage.seed, storage.min_size, storage.mask, members)


@dataclasses.dataclass(frozen=True)
class Stacked(Storage):
    """The formats of a link's slots where leaves lie in stacks, or alone."""

    members: Mapping[str, tuple[Sequence[str], Mapping[str, int]]]

    def coded(self, params: Any, rows: list[Any]) -> list[dict[str, Any]]:
        own = [self.members.get(key, ((), {}))[1] for key, _ in named_leaves(params)]
        return [{slot: getattr(row, slot) for slot in slots} for row, slots in zip(rows, own, strict=True)]

    def bits(self, shape: tuple[int, ...], owner: str, slot: str, leaf: str, t: Any) -> jax.Array:
        names, sizes = self.members[leaf]
        if len(names) == 1:
            return super().bits(shape, owner, slot, names[0], t)
        paths = [f"{owner}/{slot}/{name}" for name in names]
        return random_bits_of_stack(shape, self.seed, t, paths, sizes[slot])
