"""Holes: what stands in a tree for a leaf that does not take part. A hole is not a leaf.

From outside come a `None` for a gradient that there is not, and one for those of a whole subtree.
"""

from typing import Any

import jax
import optax

from optchain.core.row_gradient import is_row_gradient

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


def spread(grads: Any, params: Any) -> Any:
    """The gradients with a `None` for each parameter of a subtree for which a single one stands.

    Where there is none, or the trees differ in another way, these are the gradients themselves.
    """
    leaves, treedef = jax.tree.flatten(grads, is_leaf=_is_single)
    if not any(g is None for g in leaves):
        return grads
    try:
        below = treedef.flatten_up_to(params)
    except ValueError:
        return grads  # whoever reads them names the leaf that differs
    pairs = zip(leaves, below, strict=True)
    return treedef.unflatten([jax.tree.map(lambda _: None, p) if g is None else g for g, p in pairs])


def folded(tree: Any, grads: Any) -> Any:
    """The tree with a single `None` for each subtree for which one stands in the gradients."""
    return jax.tree.map(lambda g, x: None if g is None else x, grads, tree, is_leaf=_is_single)


def _is_single(g: Any) -> bool:
    return g is None or is_hole(g) or is_row_gradient(g)
