"""Slots in codes of matrices that have owners: their arrays by name, and the random bits of each on one device."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.keeping import Keeping
from optchain.core.whole import part_from
from optchain.storage.chunks import in_rows, part_size
from optchain.storage.codes import Packed
from optchain.storage.rounding import hashed, random_bits
from optchain.storage.storage import Storage

Numbers = Mapping[str, jax.Array]  # `mu/path` and `mu/first`: a path as a word, and the index of the first entry


@dataclasses.dataclass(frozen=True)
class AtPlace(Storage):
    """The formats of a link's slots for one matrix, whose random bits begin where numbers say."""

    numbers: Numbers

    def bits(self, shape: tuple[int, ...], owner: str, slot: str, leaf: str, t: Any) -> jax.Array:
        with part_from(self.numbers[f"{slot}/first"]):
            return random_bits(shape, self.seed, t, self.numbers[f"{slot}/path"])


def at_place(storage: Keeping, numbers: Numbers) -> Keeping:
    """How the slots of one matrix are kept, where `origins` has made numbers."""
    own = {name: x for name, x in numbers.items() if "/" in name}
    if not own or not isinstance(storage, Storage):
        return storage
    return AtPlace(storage.formats, storage.seed, storage.min_size, storage.mask, own)


def origins(
    storage: Keeping, prefix: str, leaf: str, sizes: Mapping[str, int], matrices: range
) -> dict[str, jax.Array]:
    """The numbers that the random bits of a leaf's matrices begin with, so that they are those of the whole leaf.

    Args:
        storage: how slots are kept.
        prefix: the name of the link.
        leaf: the path of the leaf.
        sizes: how many entries a matrix has of each slot that is kept in few bits.
        matrices: their numbers in the leaf.
    """
    numbers: dict[str, jax.Array] = {}
    for slot, size in sizes.items():
        if isinstance(storage, Storage) and storage.formats[slot].random:
            numbers[f"{slot}/path"] = jnp.full(len(matrices), hashed(f"{prefix}/{slot}/{leaf}"), jnp.uint32)
            places = jnp.arange(matrices.start, matrices.stop, dtype=jnp.uint32)
            numbers[f"{slot}/first"] = places * jnp.uint32(size)
    return numbers


def apart(storage: Keeping, slots: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of slots by the names of the trees that hold them; what is None is left out."""
    arrays: dict[str, Any] = {}
    for slot, x in slots.items():
        if x is not None:  # a slot in float32 has no scales
            arrays |= dict(zip(storage.keys(slot), x if isinstance(x, Packed) else (x,), strict=False))
    return arrays


def together(storage: Keeping, names: Sequence[str], arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The slots of these names from their arrays, None for one that is not there."""
    slots: dict[str, Any] = {}
    for slot in names:
        parts = [x for key in storage.keys(slot) if (x := arrays.get(key)) is not None]
        slots[slot] = Packed(*parts) if len(parts) == 2 else parts[0] if parts else None
    return slots


def over_places(storage: Keeping, law: Callable[[Any], Any], places: Any, t: jax.Array) -> Any:
    """The law of one matrix on several: where slots are in codes, some at a time, so that few are decoded at once."""
    g, slots, *read = places
    if not storage.in_codes or g.size <= part_size():
        return jax.vmap(law)(places)
    part = lambda _, kept, read: jax.vmap(law)((*kept, *read))  # noqa: E731
    return in_rows(part, g[0].size, (g, slots), tuple(read), t)
