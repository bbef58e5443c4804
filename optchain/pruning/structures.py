"""What is pruned together: entries, blocks or channels; and where entries lie in groups that keep N of M each."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.paths import nearest

Shape = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Structure:
    """Entries one by one. Subclasses say which blocks of entries are one unit, and which units compete."""

    def block(self, shape: Shape) -> Shape:
        """The shape of one unit, an axis for each axis of the parameter."""
        return (1,) * len(shape)

    def grouped(self, grid: jax.Array) -> jax.Array:
        """The units with an axis for groups and one for the units that compete within each."""
        return grid.reshape(1, -1)

    def spread(self, rows: jax.Array, grid: Shape) -> jax.Array:
        """The units where they belong in the parameter: the way back from `grouped`."""
        return rows.reshape(grid)

    def misfit(self, shape: Shape) -> str | None:
        """Why a parameter of this shape cannot have this structure, or None."""
        block = self.block(shape)
        if len(block) != len(shape):
            return f"has {len(shape)} axes, fewer than the blocks {block}"
        uneven = [i for i, (size, length) in enumerate(zip(shape, block, strict=True)) if size % length]
        return f"has an axis {uneven[0]} that is not divisible by {block[uneven[0]]}" if uneven else None

    def grid(self, shape: Shape) -> Shape:
        """How many units there are along each axis."""
        return tuple(size // length for size, length in zip(shape, self.block(shape), strict=True))

    def size(self, shape: Shape) -> int:
        """The entries of one unit."""
        return math.prod(self.block(shape))

    def competing(self, shape: Shape) -> int:
        """The units in one group."""
        return math.prod(self.grid(shape))

    def units(self, x: jax.Array) -> jax.Array:
        """The mean of each unit of an array, as `grouped` orders them."""
        pairs = zip(self.grid(x.shape), self.block(x.shape), strict=True)
        split = x.reshape([size for pair in pairs for size in pair])
        return self.grouped(split.mean(axis=tuple(range(1, 2 * x.ndim, 2))))

    def entries(self, rows: jax.Array, shape: Shape) -> jax.Array:
        """What holds for each unit, for each of its entries."""
        grid, block = self.grid(shape), self.block(shape)
        spaced = self.spread(rows, grid).reshape([size for count in grid for size in (count, 1)])
        whole = [size for pair in zip(grid, block, strict=True) for size in pair]
        return jnp.broadcast_to(spaced, whole).reshape(shape)


@dataclasses.dataclass(frozen=True)
class Blocks(Structure):
    """Blocks of a shape that tile the last axes."""

    shape: Shape

    def block(self, shape: Shape) -> Shape:
        return (1,) * (len(shape) - len(self.shape)) + self.shape


@dataclasses.dataclass(frozen=True)
class Channels(Structure):
    """All entries with one index on an axis."""

    axis: int = -1

    def block(self, shape: Shape) -> Shape:
        axis = self.axis % len(shape)
        return tuple(1 if i == axis else size for i, size in enumerate(shape))

    def misfit(self, shape: Shape) -> str | None:
        return _no_axis(self.axis, shape)


@dataclasses.dataclass(frozen=True)
class Groups(Structure):
    """Single entries, of which `keep` are kept in each group of `of` neighbors along an axis."""

    keep: int
    of: int
    axis: int = -2

    def grouped(self, grid: jax.Array) -> jax.Array:
        return jnp.moveaxis(grid, self.axis, -1).reshape(-1, self.of)

    def spread(self, rows: jax.Array, grid: Shape) -> jax.Array:
        others = [size for i, size in enumerate(grid) if i != self.axis % len(grid)]
        return jnp.moveaxis(rows.reshape(*others, -1), -1, self.axis)

    def misfit(self, shape: Shape) -> str | None:
        missing = _no_axis(self.axis, shape)
        uneven = missing is None and shape[self.axis] % self.of
        return f"has an axis {self.axis} that is not divisible by {self.of}" if uneven else missing

    def competing(self, shape: Shape) -> int:
        return self.of


def structure_of(structure: str | Sequence[int] | Structure, axis: int | None) -> Structure:
    """The structure that a word, `"2:4"` or the shape of a block stands for.

    Raises:
        ValueError: something else, numbers that cannot be, or an axis where there is none to choose.
    """
    if axis is not None and type(axis) is not int:
        raise ValueError(f"sparse: axis must be a whole number or None, got {axis!r}")
    options: Any = {} if axis is None else {"axis": axis}
    ratio = re.fullmatch(r"(\d+):(\d+)", structure) if isinstance(structure, str) else None
    if structure == "channels":
        return Channels(**options)
    if ratio:
        keep, of = map(int, ratio.groups())
        if not 0 < keep < of:
            raise ValueError(f"sparse: structure {structure!r} keeps {keep} of {of}; expected at least 1, and fewer")
        return Groups(keep, of, **options)
    if options:
        raise ValueError(f"sparse: structure {structure!r} has no axis to choose, got axis={axis}")
    if structure == "unstructured":
        return Structure()
    if isinstance(structure, (list, tuple)) and structure and all(type(x) is int and x > 0 for x in structure):
        return Blocks(tuple(structure))
    near = nearest(str(structure), ("unstructured", "channels", "2:4"))
    raise ValueError(f"sparse: structure is {structure!r}; expected a word, N:M, or the shape of a block; {near}")


def _no_axis(axis: int, shape: Shape) -> str | None:
    return None if -len(shape) <= axis < len(shape) else f"has no axis {axis}"
