"""The largest entries, exactly so many of them."""

from typing import Any

import jax
import jax.numpy as jnp


def largest(score: jax.Array, count: Any, sizes: jax.Array | None = None) -> jax.Array:
    """Where the `count` largest scores along the last axis stand; of equal ones those with the lower index.

    Args:
        score: any real numbers; NaN is less than all of them.
        count: a whole number, or one for each row, with an axis of length 1 at the end.
        sizes: what each entry counts for, in the shape of `score`: then the largest are chosen one by one as long as
            their sizes add up to at most `count`. Each counts for 1 if left out.
    """
    axis = score.ndim - 1
    order = jnp.argsort(-score, axis=axis, stable=True)
    places = jax.lax.broadcasted_iota(jnp.int32, score.shape, axis) + 1
    if sizes is not None:
        places = jnp.cumsum(jnp.take_along_axis(sizes, order, axis), axis=axis)
    return jnp.put_along_axis(jnp.zeros(score.shape, bool), order, places <= count, axis=axis, inplace=False)


def share(part: Any, whole: int) -> Any:
    """A part of a whole number, rounded to one: of a constant in Python, so that it is exact for any size."""
    return round(part * whole) if isinstance(part, float) else jnp.round(part * whole).astype(jnp.int32)
