"""Sums, means and other numbers of whole arrays, of which each device may have a part: for the laws of rules.

Outside of `over_axes` every function here is that of `jax.numpy`.
"""

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from optchain.core.spread import across, leaf_split, own_part, parts, place, spread

_FIRST: ContextVar[Any] = ContextVar("first", default=None)


def whole_shape(x: Any) -> tuple[int, ...]:
    """The shape of the whole array."""
    split = leaf_split()
    if spread() is None or not split:
        return x.shape
    return tuple(n * parts(split.get(i - x.ndim, ())) for i, n in enumerate(x.shape))


def whole_size(x: Any) -> int:
    """The number of entries of the whole array."""
    return math.prod(whole_shape(x))


def whole_sum(x: jax.Array, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
    """The sum of the whole array along some axes, None for all."""
    return added_over(jnp.sum(x, axes, keepdims=keepdims), across(x, axes))


def whole_mean(x: jax.Array, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
    """The mean of the whole array along some axes, None for all."""
    mean = jnp.mean(x, axes, keepdims=keepdims)
    names = across(x, axes)
    return lax.pmean(mean, names) if names else mean  # the parts are equally large


def whole_max(x: jax.Array, axes: int | tuple[int, ...] | None = None, keepdims: bool = False) -> jax.Array:
    """The largest entry of the whole array along some axes, None for all; at least 0."""
    return largest_over(jnp.max(x, axes, keepdims=keepdims, initial=0), across(x, axes))


def added_over(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """The sum of an array over the devices along some mesh axes."""
    return lax.psum(x, names) if names else x


def largest_over(x: jax.Array, names: tuple[str, ...]) -> jax.Array:
    """The largest of an array over the devices along some mesh axes."""
    return lax.pmax(x, names) if names else x


def grouped(numbers: Iterable[tuple[tuple[str, ...], Any]]) -> dict[tuple[str, ...], list[Any]]:
    """Numbers by the mesh axes that they are to be collected over: one collective for each group."""
    groups: dict[tuple[str, ...], list[Any]] = {}
    for names, x in numbers:
        groups.setdefault(names, []).append(x)
    return groups


def drawn(draw: Callable[[tuple[int, ...]], jax.Array], path: str, x: jax.Array) -> jax.Array:
    """Random numbers for a leaf: this device's part of what is drawn for the whole, by a rule of the whole tree."""
    here = spread()
    split = {} if here is None else here.split(path, x)
    shape = tuple(n * parts(split.get(i - x.ndim, ())) for i, n in enumerate(x.shape))
    return own_part(draw(shape), split)


def index(shape: tuple[int, ...]) -> jax.Array:
    """The number of each entry in the whole array, in order of the rows, modulo 2**32; for the law of a leaf."""
    split = leaf_split() or {}
    first = _FIRST.get()
    numbers = jnp.zeros(shape, jnp.uint32)
    for axis, size in enumerate(shape):
        names = split.get(axis - len(shape), ())
        at = lax.broadcasted_iota(jnp.uint32, shape, axis)
        at = at + jnp.uint32(place(size, names)) if names else at
        numbers = numbers * jnp.uint32(size * parts(names)) + at
    return numbers if first is None else numbers + jnp.asarray(first).astype(jnp.uint32)


@contextlib.contextmanager
def part_from(first: Any) -> Iterator[None]:
    """While a law is traced on a part of a leaf: the number of the part's first entry, in order of the rows; of a part
    of a part, that in the larger one."""
    outer = _FIRST.get()
    token = _FIRST.set(first if outer is None else outer + first)
    try:
        yield
    finally:
        _FIRST.reset(token)
