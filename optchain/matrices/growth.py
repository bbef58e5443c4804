"""Norms of columns, and the limit on how much the norm of an update grows."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import quotient, sqrt


def norm(x: jax.Array, axis: int | None) -> jax.Array:
    """The norms of columns (axis 0) or of all of a matrix, with two axes, whatever the size of the entries."""
    largest = jnp.max(jnp.abs(x), axis=axis, keepdims=True)
    return largest * sqrt(jnp.sum(quotient(x, largest) ** 2, axis=axis, keepdims=True))


def growth_factor(size: jax.Array, last: jax.Array, max_growth: Any) -> jax.Array:
    """The factor that brings a norm down to `max_growth` times the last one; 1 where that is 0, as at first."""
    limit = max_growth * last
    return jnp.where((last > 0) & (size > limit), quotient(limit, size), 1)
