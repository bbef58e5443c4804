"""What devices along mesh axes send one another, inside `shard_map` or a `vmap` with a name; without axes, nothing."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import get_abstract_mesh

from optchain.core.spread import bound, gathered_over, marked, varying

Axis = str | tuple[str, ...] | None  # a mesh axis, or several, along which each device has gradients of its own


def names_of(axis: Axis) -> tuple[str, ...]:
    """The names of the mesh axes."""
    return () if axis is None else (axis,) if isinstance(axis, str) else axis


def checked_axis(owner: str, axis: Any) -> None:
    """An axis is the name of a mesh axis, several of them, or None; all else is an error."""
    names = axis if isinstance(axis, tuple) else (axis,)
    wrong = not names or not all(isinstance(name, str) for name in names) or len(set(names)) < len(names)
    if axis is not None and wrong:
        expected = "the name of a mesh axis, or a tuple of several that differ"
        raise ValueError(f"{owner}: axis must be {expected}, got {axis!r}")


def devices(names: tuple[str, ...]) -> int:
    """How many devices there are along the mesh axes."""
    return lax.psum(1, names) if names else 1


def number(names: tuple[str, ...]) -> Any:
    """Which of the devices this is, from 0."""
    return lax.axis_index(names) if names else 0


def mean(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """The mean over the devices, the same on all of them."""
    return lax.pmean(x, names) if names else x


def gathered(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """The arrays of all devices, stacked along a new first axis; the same on all of them."""
    if not names:
        return x[None]
    if not varying(x) >= {*names}:  # `vmap`, or `check_vma=False`: JAX does not say what differs between devices
        return lax.all_gather(x, names)
    return gathered_over(x[None], 0, names)


def exchanged(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """Of an array with one row for each device: the rows that are for this one, by the device that they come from."""
    return lax.all_to_all(x, names, 0, 0) if names else x


def first_residual(axis: Axis, p: jax.Array) -> jax.Array:
    """Zeros like a parameter; with an axis one array for each device that this program sees, along a new first axis.

    Inside `shard_map` that is one; outside, all of the mesh that `jax.set_mesh` says.
    """
    names, zeros = names_of(axis), jnp.zeros_like(p)
    if not names:
        return zeros
    sizes = get_abstract_mesh().shape
    here = 1 if bound(names) else math.prod(sizes.get(name, 1) for name in names)
    return marked(jnp.repeat(zeros[None], here, axis=0), {-1: names})


def scattered_like(values: jax.Array, places: jax.Array, x: jax.Array) -> jax.Array:
    """The sum of values at their places, zeros elsewhere, in the shape of a vector."""
    # Zeros like x would be each device's own, and so would the sum; mapped over layers, the values say how these lie.
    return jnp.broadcast_to(jnp.where(True, 0, values[:1]), x.shape).at[places].add(values)
