"""How the leaves of a tree lie in buffers: side by side in a flat one, stacked with others of their shape, or alone."""

import dataclasses
import functools
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import laid_out, scattered
from optchain.core.holes import is_hole
from optchain.sharding.moves import first_mesh, is_explicit, through

FLAT, STACK, ALONE = "flat", "stack", "alone"


@dataclasses.dataclass(frozen=True)
class Buffer:
    """Some leaves of a tree, by their numbers, in one array."""

    key: str
    kind: str  # FLAT, STACK or ALONE
    members: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """The buffers of trees of one structure.

    With `axis` flat buffers are split over this mesh axis of `parts` devices, and padded with zeros to fit.
    """

    treedef: Any
    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    buffers: tuple[Buffer, ...]
    axis: str | None = None
    parts: int = 1

    def of(self, tree: Any) -> dict[str, jax.Array]:
        """The buffers of a tree like the parameters, or of slots; holes for what the leaves of a buffer do not have."""
        leaves, mesh = self.treedef.flatten_up_to(tree), first_mesh(tree)
        return {buffer.key: self._joined(buffer, [leaves[i] for i in buffer.members], mesh) for buffer in self.buffers}

    def back(self, buffers: dict[str, jax.Array], like: Any = None) -> Any:
        """The tree of these buffers; on a mesh with explicit axes in the layouts of the tree `like`."""
        leaves: list[Any] = [None] * len(self.shapes)
        mesh = first_mesh(buffers)
        for buffer in self.buffers:
            for i, x in zip(buffer.members, self._apart(buffer, buffers[buffer.key], mesh), strict=True):
                leaves[i] = x
        if like is not None:
            leaves = [scattered(x, old) for x, old in zip(leaves, self.treedef.flatten_up_to(like), strict=True)]
        return self.treedef.unflatten(leaves)

    @functools.cached_property
    def keys(self) -> tuple[str, ...]:
        """The key of the buffer of each leaf."""
        by_leaf = {i: buffer.key for buffer in self.buffers for i in buffer.members}
        return tuple(by_leaf[i] for i in range(len(self.shapes)))

    @functools.cached_property
    def tree(self) -> Any:
        """The shapes of the leaves."""
        return self.treedef.unflatten(map(jax.ShapeDtypeStruct, self.shapes, map(jnp.dtype, self.dtypes)))

    def sizes(self, buffer: Buffer) -> list[int]:
        """The entries of each leaf in a flat buffer, and of its padding, if there is any."""
        sizes, padding = [math.prod(self.shapes[i]) for i in buffer.members], self.padding(buffer)
        return [*sizes, padding] if padding else sizes

    def padding(self, buffer: Buffer) -> int:
        """The zeros at the end of a flat buffer, whose parts are of equal size."""
        if buffer.kind != FLAT:
            return 0
        return -sum(math.prod(self.shapes[i]) for i in buffer.members) % self.parts

    def shape(self, buffer: Buffer) -> tuple[int, ...]:
        """The shape of a buffer of parameters."""
        if buffer.kind == FLAT:
            return (sum(self.sizes(buffer)),)
        shape = self.shapes[buffer.members[0]]
        return (len(buffer.members), *shape) if buffer.kind == STACK else shape

    def is_split(self, buffer: Buffer, x: Any) -> bool:
        """Whether this is a flat buffer, or a slot with an entry for each of its own, that is split over the axis."""
        return self.axis is not None and buffer.kind == FLAT and x.shape == self.shape(buffer)

    def _joined(self, buffer: Buffer, leaves: list[Any], mesh: Any) -> Any:
        first = leaves[0]
        if buffer.kind == ALONE or is_hole(first):
            return first
        if is_explicit(mesh):  # an axis that is split and explicit can be neither merged nor stacked with another
            leaves = [laid_out(x, x, [None] * x.ndim) for x in leaves]
        if buffer.kind == STACK:
            return jnp.stack(leaves)
        if first.shape != self.shapes[buffer.members[0]]:
            return first  # a slot of one number, which an elementwise law has for all
        sizes, flat = self.sizes(buffer), [x.reshape(-1) for x in leaves]
        if len(sizes) > len(flat):
            flat.append(jnp.zeros_like(flat[0], shape=sizes[-1:]))
        x = flat[0] if len(flat) == 1 else jnp.concatenate(flat)
        return x if self.axis is None else through(mesh, x, [((self.axis,),)])

    def _apart(self, buffer: Buffer, x: Any, mesh: Any) -> list[Any]:
        shapes = [self.shapes[i] for i in buffer.members]
        if buffer.kind == ALONE or is_hole(x):
            return [x] * len(shapes)
        if buffer.kind == STACK and x.ndim:
            if x.shape[0] != len(shapes):
                raise _of_several(buffer, x, f"{len(shapes)} along the first axis")
            return [part.reshape(x.shape[1:]) for part in jax.lax.split(x, [1] * len(shapes))]
        sizes = self.sizes(buffer)
        if x.shape != (sum(sizes),):
            if x.size > 1:
                raise _of_several(buffer, x, f"{(sum(sizes),)} or one number")
            return [x] * len(shapes)
        # Each device has parts of some leaves: one gather for all, and then everything is at hand.
        x = x if self.axis is None else through(mesh, x, [((),)])
        # The transpose of `split` is one concatenation, that of slices a sum of as many padded arrays.
        parts = [x] if len(sizes) == 1 else jax.lax.split(x, sizes)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=False)]


def layout(names: list[str], tree: Any, notes: list[tuple[str, Any]], axis: str | None, parts: int) -> Layout:
    """The layout of a tree: leaves with the same note lie together.

    Args:
        names: of the leaves.
        tree: like the parameters.
        notes: for each leaf the kind of its buffer, and all else that leaves of one buffer must have in common.
        axis: the mesh axis that flat buffers are split over.
        parts: the devices along it.
    """
    leaves, treedef = jax.tree.flatten(tree)
    together: dict[Any, list[int]] = {}
    for i, (x, (kind, note)) in enumerate(zip(leaves, notes, strict=True)):
        shape = x.shape if kind == STACK else None
        together.setdefault(i if kind == ALONE else (kind, str(x.dtype), shape, note), []).append(i)
    buffers, taken = [], {names[i] for i, (kind, _) in enumerate(notes) if kind == ALONE}
    for members in together.values():
        first = members[0]
        kind, x = notes[first][0], leaves[first]
        key = names[first] if kind == ALONE else _unused(_key(kind, x), taken)
        taken.add(key)
        buffers.append(Buffer(key, kind, tuple(members)))
    shapes, dtypes = tuple(x.shape for x in leaves), tuple(str(x.dtype) for x in leaves)
    return Layout(treedef, tuple(names), shapes, dtypes, tuple(buffers), axis, parts)


def _of_several(buffer: Buffer, x: Any, expected: str) -> ValueError:
    """The error of an array that has buffers of several devices, or of several lanes of a `vmap`."""
    problem = f"an array of the buffer {buffer.key!r} has shape {x.shape}, expected {expected}"
    return ValueError(f"packed: {problem}; take apart the state of one device, or of one lane")


def _key(kind: str, x: Any) -> str:
    """The name of a buffer: what its leaves have in common."""
    dtype = "" if x.dtype == jnp.float32 else f":{x.dtype}"
    return f"{kind}:{'x'.join(map(str, x.shape)) or 'scalar'}{dtype}" if kind == STACK else f"{kind}{dtype}"


def _unused(key: str, taken: set[str]) -> str:
    return next(name for n in itertools.count(1) if (name := key if n == 1 else f"{key}#{n}") not in taken)
