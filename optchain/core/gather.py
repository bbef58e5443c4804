"""Arrays, or some of their rows, in a layout of their own on a mesh with explicit axes."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import AxisType


def gathered(x: jax.Array, depth: int, like: Any = None) -> jax.Array:
    """The array with all axes but the first `depth` whole, and these as in `like`, on a mesh with explicit axes."""
    like = x if like is None else like
    return laid_out(x, like, (*jax.typeof(like).sharding.spec[:depth], *[None] * (x.ndim - depth)))


def layout(x: jax.Array) -> Any:
    """How the axes of an array are laid out on a mesh with explicit axes."""
    return jax.typeof(x).sharding.spec


def scattered(x: jax.Array, old: Any) -> jax.Array:
    """The array in the layout of another of its shape."""
    return laid_out(x, old, jax.typeof(old).sharding.spec)


def laid_out(x: jax.Array, other: Any, spec: Any) -> jax.Array:
    """The array in a layout on the mesh of another one, or on its own where that has none."""
    layout = jax.P(*spec)
    if jax.typeof(x).sharding.spec == layout:
        return x
    # Arrays bring their own mesh: no context need name it.
    mesh = jax.typeof(other).sharding.mesh
    return jax.sharding.reshard(x, jax.NamedSharding(jax.typeof(x).sharding.mesh if mesh.empty else mesh, layout))


def looked_up(x: jax.Array, rows: jax.Array, **how: Any) -> jax.Array:
    """Rows of an array, whose layout along the other axes they keep on a mesh with explicit axes."""
    spec = (*jax.typeof(rows).sharding.spec, *jax.typeof(x).sharding.spec[1:])
    sharded = any(jax.typeof(x).sharding.spec) or any(spec)
    return x.at[rows].get(out_sharding=jax.P(*spec) if sharded else None, **how)


def is_explicit(x: Any) -> bool:
    """Whether this is an array on a mesh with explicit axes."""
    return isinstance(x, jax.Array) and AxisType.Explicit in jax.typeof(x).sharding.mesh.axis_types


def on_their_mesh(start: Callable[[Any], Any], params: Any) -> Any:
    """What `start` makes of parameters; where these are on a mesh with explicit axes, all of it is.

    A constant brings no mesh. JAX takes the devices of a compiled function from the arguments that it uses, and zeros
    like a parameter use none: so one of them is tied to a parameter, which no context need say then.
    """
    anchor = next(filter(is_explicit, jax.tree.leaves(params)), None)
    if anchor is None:
        return start(params)

    @jax.jit
    def tied(params: Any, anchor: jax.Array) -> Any:
        leaves, treedef = jax.tree.flatten(start(params))
        for first in leaves[:1]:
            leaves[0] = jax.lax.optimization_barrier((first, anchor))[0]
        return treedef.unflatten(leaves)

    return tied(params, anchor)
