"""Flax's boxes around parameters, which name the axes of what is in them: a slot's names are those that it follows.

A box is a `Partitioned` of linen, or a variable of nnx with an `out_sharding`. Flax is never imported here: where a
parameter is in a box, it has been.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import jax

from optchain.core.axes import Axes, along, entry
from optchain.core.holes import is_hole

NNX_NAMES = ("out_sharding", "optimizer_sharding")  # the metadata of a variable that name its axes


class Boxes:
    """The boxes in trees of one structure, and what they are put around."""

    def __init__(self, treedef: Any) -> None:
        # Each box is a leaf here, so that trees fit regardless of what their boxes name.
        leaves, self._outer = jax.tree.flatten(treedef.unflatten(range(treedef.num_leaves)), is_leaf=is_named)
        self.any = any(map(is_named, leaves))
        # What of each box takes part: a box stays where a mask has left a hole in it.
        self._inside = [[not is_hole(x) for x in _contents(box)] for box in leaves]

    def contents(self, tree: Any) -> list[Any]:
        """What a tree has in its boxes, for each leaf that takes part: an array, or a hole."""
        pairs = zip(self._outer.flatten_up_to(tree), self._inside, strict=True)
        return [x for box, inside in pairs for x, here in zip(_contents(box), inside, strict=True) if here]

    def put_as(self, old: Any, tree: Any) -> Any:
        """A tree in the boxes of another one."""
        boxes, contents = [], iter(self.contents(tree))
        for box, inside in zip(self._outer.flatten_up_to(old), self._inside, strict=True):
            leaves, treedef = jax.tree.flatten(box, is_leaf=is_hole)
            pairs = zip(leaves, inside, strict=True)
            boxes.append(treedef.unflatten([next(contents) if here else x for x, here in pairs]))
        return self._outer.unflatten(boxes)

    def named(self, tree: Any, axes: list[Axes | None], params: list[Any]) -> Any:
        """A tree in boxes that name the axes that each leaf follows; None leaves the names as they are."""
        boxes, leaf = [], iter(zip(axes, params, strict=True))
        for box, inside in zip(self._outer.flatten_up_to(tree), self._inside, strict=True):
            contents = _contents(box)
            if any(inside):
                followed, p = next(leaf)
                if followed is not None and followed != tuple(range(p.ndim)) and is_named(box):
                    box = _renamed(box, followed, contents[0].shape, p.shape)
            boxes.append(box)
        return self._outer.unflatten(boxes)


def named(tree: Any, params: Any, axes: Callable[[Any], Axes]) -> Any:
    """A tree like the parameters, in boxes that name the axes of its parameter that each array follows."""
    boxes, ps = boxes_of(jax.tree.structure(params)), jax.tree.leaves(params)
    return tree if boxes is None else boxes.named(tree, list(map(axes, ps)), ps)


def put_as(old: Any, tree: Any, params: Any) -> Any:
    """A tree like the parameters in the boxes of another one, which may name other axes."""
    boxes = boxes_of(jax.tree.structure(params))
    return tree if boxes is None else boxes.put_as(old, tree)


def boxes_of(treedef: Any) -> Boxes | None:
    """The boxes in trees of this structure; None where no box names axes."""
    if "flax" not in sys.modules:
        return None
    try:
        boxes = _boxes(treedef)
    except TypeError:  # a variable may have metadata that have no hash
        boxes = Boxes(treedef)
    return boxes if boxes.any else None


@functools.lru_cache(maxsize=64)
def _boxes(treedef: Any) -> Boxes:
    return Boxes(treedef)


def _contents(box: Any) -> list[Any]:
    """The leaves and the holes in a box; what is in no box is itself one of them."""
    return jax.tree.leaves(box, is_leaf=is_hole)


def is_named(x: Any) -> bool:
    """Whether this is a box that names axes."""
    return bool(_names(x))


def _names(box: Any) -> dict[str, Any]:
    """What of a box names axes, by the name of the field."""
    linen, nnx = sys.modules.get("flax.core.meta"), sys.modules.get("flax.nnx")
    if linen is not None and isinstance(box, linen.Partitioned):
        return {"names": box.names}
    if nnx is not None and isinstance(box, nnx.Variable):
        metadata = box.get_metadata()
        return {name: metadata[name] for name in NNX_NAMES if isinstance(metadata.get(name), (tuple, list, jax.P))}
    return {}


def _renamed(box: Any, axes: Axes, shape: tuple[int, ...], whole: tuple[int, ...]) -> Any:
    """The box of a slot of this shape that follows these axes of a parameter."""
    names = {
        field: jax.P(*new) if isinstance(old, jax.P) else tuple(new)
        for field, old in _names(box).items()
        for new in [[entry(axis_names) for axis_names in along(old, axes, shape, whole)]]
    }
    if "names" in names:
        return box.replace(**names)
    copy = jax.tree.map(lambda x: x, box, is_leaf=is_hole)  # a variable of its own, because these are changed in place
    copy.set_metadata(**names)
    return copy
