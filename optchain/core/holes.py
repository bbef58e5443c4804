"""Holes: what stands in a tree for a leaf that does not take part. A hole is not a leaf."""

from typing import Any

import jax
import optax

HOLE = optax.MaskedNode()


def is_hole(x: Any) -> bool:
    """Whether this stands for a leaf that does not take part."""
    return type(x) is optax.MaskedNode


def part(tree: Any, inside: list[bool]) -> Any:
    """The tree with holes in place of the leaves that are not inside."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([x if here else HOLE for x, here in zip(leaves, inside, strict=True)])


def merged(new: Any, old: Any) -> Any:
    """The leaves of the new tree, and those of the old one where the new tree has holes."""
    leaves, treedef = jax.tree.flatten(old)
    pairs = zip(treedef.flatten_up_to(new), leaves, strict=True)
    return treedef.unflatten([b if type(a) is optax.MaskedNode else a for a, b in pairs])


def filled(tree: Any, other: Any) -> Any:
    """The tree with what another one has in the place of its holes, which may be no leaf there, such as `None`."""
    leaves, treedef = jax.tree.flatten(tree, is_leaf=is_hole)
    if not any(map(is_hole, leaves)):
        return tree
    pairs = zip(leaves, treedef.flatten_up_to(other), strict=True)
    return treedef.unflatten([y if is_hole(x) else x for x, y in pairs])


def holed(tree: Any, pattern: Any) -> Any:
    """The tree with the holes of another one, whose leaves may be subtrees of this one."""
    others, treedef = jax.tree.flatten(pattern, is_leaf=is_hole)
    pairs = zip(treedef.flatten_up_to(tree), others, strict=True)
    return treedef.unflatten([HOLE if type(y) is optax.MaskedNode else x for x, y in pairs])
