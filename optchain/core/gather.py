"""Arrays, or some of their rows, in a layout of their own on a mesh with explicit axes."""

from collections.abc import Callable
from typing import Any

import jax
from jax.core import Tracer
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
    mesh = mesh_of(x) if jax.typeof(other).sharding.mesh.empty else mesh_of(other)
    return jax.sharding.reshard(x, jax.NamedSharding(mesh, layout))


def mesh_of(x: jax.Array) -> Any:
    """The mesh of an array, with its devices where they are known."""
    of = x.sharding if isinstance(x, jax.Array) and not isinstance(x, Tracer) else None
    return of.mesh if isinstance(of, jax.NamedSharding) else jax.typeof(x).sharding.mesh


def looked_up(x: jax.Array, rows: jax.Array, **how: Any) -> jax.Array:
    """Rows of an array, whose layout along the other axes they keep on a mesh with explicit axes."""
    return x.at[rows].get(out_sharding=_in_layout(rows, x, 1), **how)


def with_rows(x: jax.Array, rows: jax.Array, new: jax.Array, **how: Any) -> jax.Array:
    """The array with other rows, in its own layout on a mesh with explicit axes."""
    return x.at[rows].set(new.astype(x.dtype), out_sharding=_in_layout(x, x, x.ndim), **how)


def with_added(x: jax.Array, rows: jax.Array, new: jax.Array, **how: Any) -> jax.Array:
    """The array with something added to rows, in its own layout on a mesh with explicit axes."""
    return x.at[rows].add(new, out_sharding=_in_layout(x, x, x.ndim), **how)


def whole_rows(x: jax.Array, axes: int = 1) -> jax.Array:
    """The array with all rows on each device, which its first axes count, on a mesh with explicit axes."""
    return laid_out(x, x, (*[None] * axes, *jax.typeof(x).sharding.spec[axes:]))


def _in_layout(first: jax.Array, second: jax.Array, start: int) -> Any:
    """The layout of an array with the axes of the first, and of the second from `start` on; None where none is split.

    A mesh axis splits one axis alone.
    """
    a, b = (jax.typeof(x).sharding for x in (first, second))
    if not any(a.spec) and not any(b.spec):
        return None
    used = {name for entry in a.spec for name in names_of(entry)}
    rest = (None if used & {*names_of(entry)} else entry for entry in b.spec[start:])
    return jax.NamedSharding(b.mesh if a.mesh.empty else a.mesh, jax.P(*a.spec, *rest))


def names_of(entry: Any) -> tuple[str, ...]:
    """The names of the mesh axes that split one axis."""
    return () if entry is None else tuple(entry) if isinstance(entry, (tuple, list)) else (entry,)


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
