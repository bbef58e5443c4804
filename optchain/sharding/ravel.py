"""Leaves as flat arrays that the devices along a mesh axis divide evenly: raveled, and padded with zeros."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import get_abstract_mesh

from optchain.core.boxes import is_named
from optchain.core.gather import scattered
from optchain.core.layers import Layers
from optchain.core.mask import Choice, chooses, select
from optchain.core.paths import named_leaves, nearest
from optchain.core.walk import rewritten
from optchain.sharding.moves import first_mesh, is_explicit, through


@dataclasses.dataclass(frozen=True)
class Raveled:
    """Which leaves of a tree are flat on a mesh, and over which of its axes they are split."""

    tree: Any  # like the parameters, whole
    mesh: Any
    axis: str
    parts: int
    flat: list[bool]  # for each leaf

    def of(self, tree: Any) -> Any:
        """A tree like the parameters whose chosen leaves are flat and split."""
        return self._each(lambda x, whole: self.raveled(x) if x.shape == whole.shape else x, tree)

    def back(self, tree: Any) -> Any:
        """A tree like the parameters from one whose chosen leaves are flat, in the layouts of the parameters."""
        return self._each(lambda x, whole: scattered(self.whole(x, whole.shape), whole), tree)

    def raveled(self, x: jax.Array) -> jax.Array:
        """One leaf, flat and split."""
        # An axis that is split and explicit cannot be merged.
        x = through(self.mesh, x, [((),) * x.ndim]) if is_explicit(self.mesh) else x
        x = jnp.pad(x.reshape(-1), (0, self.length(x.shape) - x.size))
        return through(self.mesh, x, [((self.axis,),)])

    def whole(self, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        """One leaf, gathered and in its shape."""
        return through(self.mesh, x, [((),)])[: int(np.prod(shape))].reshape(shape)

    def length(self, shape: tuple[int, ...]) -> int:
        """The entries of a leaf of this shape with its padding."""
        return -(-int(np.prod(shape)) // self.parts) * self.parts

    def is_entry(self, x: jax.Array, size: int) -> jax.Array:
        """Which entries of a flat leaf are no padding."""
        return through(self.mesh, jnp.arange(x.size) < size, [((self.axis,),)])

    def inside(self, tx: Any) -> Any:
        """The transformation for trees with flat leaves, whose masks and layers are asked about whole ones."""
        shapes = tuple((path, x) for (path, x), flat in zip(named_leaves(self.tree), self.flat, strict=True) if flat)
        shapes = tuple((path, jax.ShapeDtypeStruct(x.shape, x.dtype)) for path, x in shapes)

        def changed(link: Any) -> Any:
            fields = {field.name for field in dataclasses.fields(link)} & {"mask", "layers"}
            if "mask" not in fields or (link.mask is None and link.layers is None):
                return link
            mask = None if link.mask is None else OfWhole(link.mask, link.layers, shapes)
            layers = None if link.rule.core_ndim == 0 else link.layers  # which an elementwise law never reads
            return dataclasses.replace(link, mask=mask, layers=layers)

        return rewritten(tx, changed) if shapes else tx

    def _each(self, function: Any, tree: Any) -> Any:
        leaves, treedef = jax.tree.flatten(tree)
        rows = zip(leaves, jax.tree.leaves(self.tree), self.flat, strict=True)
        return treedef.unflatten([function(x, whole) if flat else x for x, whole, flat in rows])


@dataclasses.dataclass(frozen=True)
class OfWhole(Choice):
    """A mask that is asked about leaves in their own shapes, where those of a tree are flat."""

    mask: Any
    layers: Layers | None
    shapes: tuple[tuple[str, Any], ...]

    def over(self, tree: Any, layers: Layers | None = None) -> list[bool]:
        """One bool for each leaf."""
        shapes = dict(self.shapes)
        leaves = [shapes.get(path, x) for path, x in named_leaves(tree)]
        return select(self.mask, jax.tree.structure(tree).unflatten(leaves), self.layers)

    def takes(self, path: str, leaf: Any) -> bool:
        """Whether it chooses a leaf that stands outside of the tree."""
        return chooses(self.mask, path, leaf)


def no_axis_divides(shape: tuple[int, ...], parts: int) -> bool:
    """Whether this shape is flat on so many devices: it has no axis that they divide, or one axis alone."""
    return parts > 1 and (len(shape) == 1 or not any(n % parts == 0 for n in shape))


def in_boxes(tree: Any) -> list[bool]:
    """Which leaves stand in boxes of Flax that name their axes, of which a flat leaf has others."""
    boxes = jax.tree.leaves(tree, is_leaf=is_named)
    return [is_named(box) for box in boxes for _ in jax.tree.leaves(box)]


def mesh_with(owner: str, axis: str, tree: Any) -> Any:
    """The mesh of the first array that has one, with this axis; None where none has, and in a `shard_map` over it.

    Raises:
        ValueError: the mesh has no such axis.
    """
    if axis in get_abstract_mesh().manual_axes:
        return None
    mesh = first_mesh(tree)
    if mesh is not None and axis not in mesh.axis_names:
        near = nearest(axis, mesh.axis_names)
        raise ValueError(f"{owner}: split over {axis!r}, which the mesh does not have; {near}")
    return mesh
