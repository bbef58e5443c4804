"""Arrays, or some of their rows, in a layout of their own on a mesh with explicit axes."""

from typing import Any

import jax


def gathered(x: jax.Array, depth: int, like: Any = None) -> jax.Array:
    """The array with all axes but the first `depth` whole, and these as in `like`, on a mesh with explicit axes."""
    like = x if like is None else like
    return _laid_out(x, like, (*jax.typeof(like).sharding.spec[:depth], *[None] * (x.ndim - depth)))


def layout(x: jax.Array) -> Any:
    """How the axes of an array are laid out on a mesh with explicit axes."""
    return jax.typeof(x).sharding.spec


def scattered(x: jax.Array, old: Any) -> jax.Array:
    """The array in the layout of another of its shape."""
    return _laid_out(x, old, jax.typeof(old).sharding.spec)


def _laid_out(x: jax.Array, old: Any, spec: Any) -> jax.Array:
    layout = jax.P(*spec)
    if jax.typeof(x).sharding.spec == layout:
        return x
    # Arrays bring their own mesh: no context need name it.
    return jax.sharding.reshard(x, jax.NamedSharding(jax.typeof(old).sharding.mesh, layout))


def looked_up(x: jax.Array, rows: jax.Array, **how: Any) -> jax.Array:
    """Rows of an array, whose layout along the other axes they keep on a mesh with explicit axes."""
    spec = (*jax.typeof(rows).sharding.spec, *jax.typeof(x).sharding.spec[1:])
    sharded = any(jax.typeof(x).sharding.spec) or any(spec)
    return x.at[rows].get(out_sharding=jax.P(*spec) if sharded else None, **how)
