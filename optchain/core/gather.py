"""Arrays, or some of their rows, in a layout of their own on a mesh with explicit axes."""

from typing import Any

import jax


def gathered(x: jax.Array, depth: int) -> jax.Array:
    """The array with all axes but the first `depth` whole, on a mesh with explicit axes."""
    spec = jax.typeof(x).sharding.spec
    return _laid_out(x, (*spec[:depth], *[None] * (x.ndim - depth)))


def scattered(x: jax.Array, old: Any) -> jax.Array:
    """The array in the layout of another of its shape."""
    return _laid_out(x, jax.typeof(old).sharding.spec)


def _laid_out(x: jax.Array, spec: Any) -> jax.Array:
    wanted = jax.P(*spec)
    return x if jax.typeof(x).sharding.spec == wanted else jax.sharding.reshard(x, wanted)


def looked_up(x: jax.Array, rows: jax.Array, **how: Any) -> jax.Array:
    """Rows of an array, whose layout along the other axes they keep on a mesh with explicit axes."""
    spec = (*jax.typeof(rows).sharding.spec, *jax.typeof(x).sharding.spec[1:])
    sharded = any(jax.typeof(x).sharding.spec) or any(spec)
    return x.at[rows].get(out_sharding=jax.P(*spec) if sharded else None, **how)
