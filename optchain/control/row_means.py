"""The mean of gradients of rows over micro-batches: each has a place of its own, written again before every step."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import wide
from optchain.core.paths import named_leaves
from optchain.core.row_gradient import RowGradient, is_row_gradient


def with_rows(mean: RowGradient, g: RowGradient, share: jax.Array, counts: Any, micro: Any, rows: int) -> RowGradient:
    """The mean with one more micro-batch at its place, where it counts; none need be cleared."""
    weighed = jnp.where(counts, (1 - share) * mean.values, mean.values)
    new = RowGradient(g.bounded(), share * wide(g.values), g.num_rows).padded(rows)
    indices, values = jnp.where(counts, new.indices, g.num_rows), jnp.where(counts, new.values, 0)
    place, put = micro * rows, jax.lax.dynamic_update_slice_in_dim
    return RowGradient(put(mean.indices, indices, place, 0), put(weighed, values, place, 0), mean.num_rows)


def filled(mean: Any, micro: jax.Array, rows: int | None) -> Any:
    """A gradient of rows without the places that no micro-batch has filled since the last step."""
    if not is_row_gradient(mean):
        return mean
    here = jnp.arange(len(mean.indices)) < micro * (rows or len(mean.indices))
    return dataclasses.replace(mean, indices=jnp.where(here, mean.indices, mean.num_rows))


def nothing_like(nothing: Any, mean: Any) -> Any:
    """The update of no step, of a table with as many rows as that of a step."""
    return dataclasses.replace(mean, values=jnp.zeros_like(mean.values)) if is_row_gradient(nothing) else nothing


def require_room(owner: str, grads: Any, mean: Any, rows: int | None) -> None:
    """The gradients of rows, and no others, have a place in the mean that is large enough."""
    rooms = dict(named_leaves(mean, is_row_gradient))
    for path, g in named_leaves(grads, is_row_gradient):
        leaf = f"{owner}: leaf {path!r} has"
        if is_row_gradient(g) and not is_row_gradient(rooms[path]):
            expected = f"accumulate(rows(tx, tables), every, rows={len(g.indices)}) makes room for them"
            raise ValueError(f"{leaf} a gradient of rows; {expected}")
        if is_row_gradient(rooms[path]) and len(getattr(g, "indices", g)) > (rows or 0):
            gradient = f"{len(g.indices)} rows" if is_row_gradient(g) else "a dense gradient"
            raise ValueError(f"{leaf} {gradient}, but there is room for {rows} rows")
