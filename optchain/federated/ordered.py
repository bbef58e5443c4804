"""The updates of clients, entry by entry in order of their size: what robust means are taken of."""

import jax
import jax.numpy as jnp

from optchain.core.leading import along


def ordered(x: jax.Array, present: jax.Array) -> jax.Array:
    """Each entry's values in rising order; those of clients that are not present, and NaN, are infinite and last."""
    return jnp.sort(jnp.where(along(present, x) & ~jnp.isnan(x), x, jnp.inf), axis=0)


def mean_of_ranks(x: jax.Array, first: jax.Array, last: jax.Array) -> jax.Array:
    """The mean of the values from one rank up to another, of values in order; 0 where there is none."""
    ranks = along(jnp.arange(len(x)), x)
    # Each is divided before they are added, so that finite values have a finite mean.
    share = 1 / jnp.maximum(last - first + 1, 1).astype(x.dtype)
    return jnp.sum(jnp.where((ranks >= first) & (ranks <= last), x, 0) * share, axis=0)
