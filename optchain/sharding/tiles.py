"""Flat buffers of matrices on their way to their owners: each device sends the tiles that it has."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from optchain.sharding.owners import Owners
from optchain.sharding.rows import Rows

Sides = tuple[tuple[str, ...], ...]  # for each axis of a matrix the mesh axes that split it


@dataclasses.dataclass(frozen=True)
class Wire:
    """The mesh axes that split matrices: those of the owners, in their order, and others. What it does is done in a
    `shard_map` over the whole mesh."""

    owners: Owners
    split: tuple[str, ...]
    others: tuple[str, ...]

    @classmethod
    def of(cls, owners: Owners, sides: Sides) -> "Wire":
        names = {name for side in sides for name in side}
        split = tuple(name for name in owners.axes if name in names)
        return cls(owners, split, tuple(x for x in owners.mesh.axis_names if x in names and x not in split))

    @property
    def copies(self) -> tuple[str, ...]:
        """The axes of the owners along which devices have the same tiles."""
        return tuple(name for name in self.owners.axes if name not in self.split)

    @property
    def grid(self) -> tuple[str, ...]:
        """The axes of the mesh whose tiles make a matrix."""
        return self.others + self.split

    def inward(self, buffer: jax.Array) -> jax.Array:
        """From the tiles of this device in a row for each owner: all tiles of this owner, in a row for each device of
        the grid."""
        x = buffer.reshape(*self._sizes(self.owners.axes), -1)
        for axis in reversed(self.copies):
            x = jax.lax.dynamic_index_in_dim(x, jax.lax.axis_index(axis), self.owners.axes.index(axis), keepdims=False)
        x = x.reshape(math.prod(self._sizes(self.split)), -1)
        if self.split:
            x = jax.lax.all_to_all(x, self.split, 0, 0, tiled=True)
        if self.others:
            x = jax.lax.all_gather(x, self.others)
        return x.reshape(*self._sizes(self.grid), -1)

    def outward(self, tiles: jax.Array) -> jax.Array:
        """The way back, from the tiles of what this owner made to those of this device in a row for each owner."""
        x = tiles.reshape(math.prod(self._sizes(self.others)), math.prod(self._sizes(self.split)), -1)
        x = jax.lax.dynamic_index_in_dim(x, jax.lax.axis_index(self.others), keepdims=False) if self.others else x[0]
        if self.split:
            x = jax.lax.all_to_all(x, self.split, 0, 0, tiled=True)
        if self.copies:
            x = jax.lax.all_gather(x, self.copies)
        now = self.copies + self.split
        x = x.reshape(*self._sizes(now), -1).transpose(*map(now.index, self.owners.axes), len(now))
        return x.reshape(self.owners.count, -1)

    def whole(self, tiles: jax.Array, sides: Sides, shape: tuple[int, ...]) -> jax.Array:
        """The matrix of these tiles, each a row."""
        x = tiles.reshape(*self._sizes(self.grid), *self.tile(sides, shape))
        order, inner = [], len(self.grid)
        for i, side in enumerate(sides):
            order += [*map(self.grid.index, side), inner + i]
        return x.transpose(order).reshape(shape)

    def tiles(self, x: jax.Array, sides: Sides) -> jax.Array:
        """The tiles of a matrix, each a row."""
        sizes, at, places = [], {}, []
        for side, n in zip(sides, self.tile(sides, x.shape), strict=True):
            at |= {name: len(sizes) + i for i, name in enumerate(side)}
            places.append(len(sizes) + len(side))
            sizes += [*self._sizes(side), n]
        x = x.reshape(sizes).transpose(*(at[name] for name in self.grid), *places)
        return x.reshape(*self._sizes(self.grid), -1)

    def tile(self, sides: Sides, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of one tile of a matrix."""
        return tuple(n // math.prod(self._sizes(side)) for n, side in zip(shape, sides, strict=True))

    def _sizes(self, names: Sequence[str]) -> tuple[int, ...]:
        return tuple(self.owners.mesh.shape[name] for name in names)


@dataclasses.dataclass(frozen=True)
class Sent:
    """Matrices by number, in their layouts, and the buffers in which they travel: one for those that the same mesh axes
    split."""

    shapes: Sequence[tuple[int, ...]]
    sides: Sequence[Sides]
    wires: Sequence[Wire]  # of each matrix
    rows: Mapping[Wire, Rows]
    dtype: Any

    @classmethod
    def of(cls, owners: Owners, order: Any, shapes: Sequence[Any], sides: Sequence[Sides], dtype: Any) -> "Sent":
        wires = [Wire.of(owners, side) for side in sides]
        tiles = [wire.tile(side, shape) for wire, side, shape in zip(wires, sides, shapes, strict=True)]
        rows = {
            wire: Rows([tile if own == wire else None for own, tile in zip(wires, tiles, strict=True)], order)
            for wire in dict.fromkeys(wires)
        }
        return cls(shapes, sides, wires, rows, dtype)

    def inward(self, tiles: Sequence[jax.Array]) -> list[jax.Array]:
        """The buffers of this owner, from the tiles of all matrices that this device has."""
        flat = [x.reshape(-1) for x in tiles]
        return [wire.inward(rows.buffer(flat, self.dtype)) for wire, rows in self.rows.items()]

    def outward(self, buffers: Sequence[jax.Array]) -> list[jax.Array]:
        """The tiles of all matrices that this device has, from the buffers of this owner."""
        found: dict[int, jax.Array] = {}
        for (wire, rows), buffer in zip(self.rows.items(), buffers, strict=True):
            back = wire.outward(buffer)
            for i, (owner, _) in rows.places.items():
                found[i] = rows.cut(i, back[owner]).reshape(wire.tile(self.sides[i], self.shapes[i]))
        return [found[i] for i in range(len(self.shapes))]

    def matrix(self, i: int, buffers: Sequence[jax.Array]) -> jax.Array:
        """A matrix, whole, out of the buffers of its owner."""
        wire = self.wires[i]
        tiles = self.rows[wire].cut(i, buffers[[*self.rows].index(wire)])
        return wire.whole(tiles, self.sides[i], self.shapes[i])

    def buffers(self, owner: int, matrices: Mapping[int, jax.Array]) -> list[jax.Array]:
        """The buffers of an owner, from its matrices."""
        made = []
        for wire, rows in self.rows.items():
            tiles = {i: wire.tiles(matrices[i], self.sides[i]) for i in rows.order[owner] if i in rows.places}
            lead = tuple(wire.owners.mesh.shape[name] for name in wire.grid)
            made.append(rows.row(owner, tiles, self.dtype, lead))
        return made

    def same(self, i: int) -> Any:
        """What two matrices have in common whose owners cut them out of their buffers in the same way."""
        return self.shapes[i], self.sides[i]
