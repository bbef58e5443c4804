"""Slots of weights that are pruned: they are what they were at the beginning, so that a regrown weight starts again."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.holes import is_hole
from optchain.core.places import at_places
from optchain.core.transform import start

# Factors of the axes: different for each axis, so that no two equal axes stay equal.
STRETCH = (2, 3, 5, 7, 11, 13, 17, 19)


def purged(tx: Any, state: Any, masks: Any, params: Any) -> Any:
    """The state with every slot that is like a parameter set back, outside the mask, to what `init` makes of 0.

    Args:
        tx: the transformation.
        state: its state.
        masks: a tree like the parameters of bools, left out for those that have no mask.
        params: the parameters, of which shapes and dtypes matter, as `init` saw them.
    """

    def place(slot: Any, p: Any, mask: Any) -> Any:
        return True if is_hole(mask) or slot.shape != p.shape else mask

    def back(path: Any, slot: Any, new: Any, mask: Any) -> Any:
        if mask is True or not follows.get(jax.tree_util.keystr(path), True):
            return slot
        return jnp.where(mask, slot, new.astype(slot.dtype))

    follows = followers(tx, params)
    placed = _at_slots(tx, place, state, params, masks)
    # Of zeros, which the parameters are outside the mask: an average that begins as its parameter need not read it.
    fresh = start(tx, jax.tree.map(jnp.zeros_like, params))
    return jax.tree.map_with_path(back, state, fresh, placed)


def followers(tx: Any, params: Any) -> dict[str, bool]:
    """Whether each array in the state, by its path, keeps the shape of its parameter if the axes of that are stretched.

    By its shape alone the factor of a preconditioner, rows by rows, could not be told from a slot of a square matrix.
    """

    def stretched(p: Any) -> jax.ShapeDtypeStruct:
        shape = tuple(size * factor for size, factor in zip(jnp.shape(p), STRETCH, strict=False))
        return jax.ShapeDtypeStruct(shape, jnp.asarray(p).dtype)

    larger = jax.tree.map(stretched, params)
    try:
        state = jax.eval_shape(lambda p: start(tx, p), larger)
    except (TypeError, ValueError):
        return {}  # it knows the shapes of its own model, and no others
    like = _at_slots(tx, lambda slot, p: slot.shape == p.shape, state, larger)
    return {jax.tree_util.keystr(path): alike for path, alike in jax.tree.leaves_with_path(like)}


def _at_slots(tx: Any, function: Any, state: Any, params: Any, *trees: Any) -> Any:
    """A function of each array in the state that stands in the place of a parameter, and True for all others."""

    def present(slot: Any, *others: Any) -> Any:
        return slot if is_hole(slot) else function(slot, *others)

    return at_places(tx, present, state, params, *trees, otherwise=lambda _: True)
