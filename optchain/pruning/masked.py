"""Trees of masks: bools like the parameters, left out for those that have no mask."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.holes import is_hole


def where_masked(masks: Any, function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """The tree with `function(mask, x, *others)` in the place of each x that has a mask."""
    return jax.tree.map(
        lambda mask, x, *rest: x if is_hole(mask) else function(mask, x, *rest), masks, tree, *others, is_leaf=is_hole
    )


def masked(masks: Any, tree: Any) -> Any:
    """The tree with zeros outside the masks."""
    return where_masked(masks, lambda mask, x: jnp.where(mask, x, 0), tree)


def part_of(masks: Any, tree: Any) -> Any:
    """The leaves of a tree that have a mask; the others are left out."""
    return jax.tree.map(lambda mask, x: mask if is_hole(mask) else x, masks, tree, is_leaf=is_hole)
