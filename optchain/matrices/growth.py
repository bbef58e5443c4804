"""The limit on how much the norm of an update grows."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import quotient


def growth_factor(size: jax.Array, last: jax.Array, max_growth: Any) -> jax.Array:
    """The factor that brings a norm down to `max_growth` times the last one; 1 where that is 0, as at first."""
    limit = max_growth * last
    return jnp.where((last > 0) & (size > limit), quotient(limit, size), 1)
