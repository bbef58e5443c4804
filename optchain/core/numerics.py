"""Arithmetic shared by the rules; every reduction is made in float32 or wider, and of whole arrays (`whole.py`)."""

import functools
import operator
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from optchain.core.spread import SPREAD, across
from optchain.core.whole import added_over, grouped, whole_size

try:
    from jax import enable_x64
except ImportError:  # JAX 0.7
    from jax.experimental import enable_x64  # pyright: ignore

FLOATS = ("float32", "float64", "bfloat16", "float16")
LARGEST = {jnp.dtype(name): float(jnp.finfo(name).max) for name in FLOATS}
TINY = {jnp.dtype(name): float(jnp.finfo(name).tiny) for name in FLOATS}
WIDE = {jnp.dtype(name) for name in ("float32", "float64")}
LARGEST_COUNT = 2**31 - 1


def wide(x: Any) -> jax.Array:
    """The array in the dtype that arithmetic is done in: float32, or float64 where it is one."""
    if isinstance(x, jax.Array) and x.dtype in WIDE:
        return x
    return jnp.asarray(x, jnp.float64 if jnp.asarray(x).dtype == jnp.float64 else jnp.float32)


@functools.partial(jax.jit, inline=True)  # one call where nothing else is compiled
def incremented(count: jax.Array) -> jax.Array:
    """A count plus one; at the largest number it stays, where it would turn negative."""
    return jnp.minimum(count, LARGEST_COUNT - 1) + 1


def square(x: jax.Array) -> jax.Array:
    """The square, at most the largest finite number, so that a mean of squares never forms inf - inf."""
    return jnp.minimum(x * x, LARGEST[x.dtype])  # `bounded` written out: every leaf of Adam calls this


def bounded(x: jax.Array) -> jax.Array:
    """A sum or mean of squares, at most the largest finite number."""
    return jnp.minimum(x, LARGEST[x.dtype])


def root(square: jax.Array) -> jax.Array:
    """The root. Below the smallest normal number it is that of this number, so that its derivative is finite at 0."""
    return jnp.sqrt(jnp.maximum(square, TINY[square.dtype]))


def sqrt(square: jax.Array) -> jax.Array:
    """The root. At 0 it is 0, and so is its derivative."""
    none = square == 0
    return jnp.where(none, 0, jnp.sqrt(jnp.where(none, 1, square)))


def ema(x: jax.Array, mean: jax.Array, b: Any) -> jax.Array:
    """The exponential moving average after one more sample, `b mean + (1 - b) x`."""
    if isinstance(b, float) and b >= 0.5:
        # A constant 1 - b is known to more digits than b is in float32, whose error adds up over 1 / (1 - b) samples.
        return mean + (1 - b) * (x - mean)
    return b * mean + (1 - b) * x


def second_ema(x: jax.Array, old: jax.Array, new: jax.Array, b: Any, b_new: Any) -> jax.Array:
    """The average `ema(x, old, b)` of another decay, where `new = ema(x, old, b_new)` overwrites `old`."""
    if not isinstance(b_new, float) or b_new < 0.1:  # a small one would cancel, and none can be divided by 0
        return ema(x, old, b)
    # The same number from the new average: XLA on CPU makes one fusion for each output, and copies the old average (4 B
    # for each parameter, 2 to 3 times the time) if another output still reads it when it is overwritten in place.
    return ema(x, new, b / b_new)


def over_root(x: jax.Array, square: jax.Array, eps: Any, eps_in_sqrt: bool = False, eps_root: Any = 0.0) -> jax.Array:
    """The quotient `x / (sqrt(square + eps_root) + eps)`, or `x / sqrt(square + eps)`; 0 where x and the square are 0.

    The root is meant to bound x, as that of a mean of squares does; where the two are unrelated use `quotient`.
    """
    if type(eps_root) is not float or eps_root != 0:  # an equation less for each leaf where it is not used
        square = square + eps_root
    return x / (root(square + eps) if eps_in_sqrt else root(square) + eps)


def norm(x: jax.Array, axes: tuple[int, ...] | None = None) -> jax.Array:
    """The Euclidean norm of one array, or those along some axes, which stay with length 1."""
    return _root_of_squares((x,), axes, 1, (across(x, axes),))


def rms(x: jax.Array) -> jax.Array:
    """The root mean square of one array; 0 of an empty one."""
    return _root_of_squares((x,), None, max(whole_size(x), 1), (across(x),))


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves together, in the widest of their dtypes or float32; 0 for an empty tree."""
    leaves = jax.tree.leaves(tree)
    over = () if SPREAD.get() is None else tuple(map(across, leaves))
    return _root_of_squares(tuple(leaves), None, 1, over) if leaves else jnp.zeros((), jnp.float32)


Over = tuple[tuple[str, ...], ...]  # of each array the mesh axes that it is summed over


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2, 3))
def _root_of_squares(arrays: tuple[jax.Array, ...], axes: tuple[int, ...] | None, count: int, over: Over) -> jax.Array:
    """The root of the sum of all squares over `count`, in float32 or wider, without overflow or underflow.

    The squares of float32 are added in float64, which can hold them: this costs no second pass, as a division by the
    largest entry would, and stores nothing. float64 has float32's range on TPUs: there, as for arrays that are float64
    themselves, a norm is infinite above the root of the largest number, and 0 below that of the smallest.
    """
    dtype = jnp.dtype("float64" if any(x.dtype == jnp.float64 for x in arrays) else "float32")
    with enable_x64(True):
        inside = dtype if jax.default_backend() == "tpu" else jnp.float64
        sums = [jnp.sum(jnp.square(lax.convert_element_type(x, inside)), axes, keepdims=bool(axes)) for x in arrays]
        total = _over_devices(sums, over) if over else functools.reduce(operator.add, sums)
        return lax.convert_element_type(jnp.sqrt(total if count == 1 else total / count), dtype)


@_root_of_squares.defjvp
def _along(
    axes: tuple[int, ...] | None, count: int, over: Over, primals: Any, tangents: Any
) -> tuple[jax.Array, jax.Array]:
    """The derivative, the unit array along which the norm grows; 0 where the norm is 0."""
    root = _root_of_squares(*primals, axes, count, over)
    pairs = [(x.astype(root.dtype), dx.astype(root.dtype)) for x, dx in zip(primals[0], tangents[0], strict=True)]
    sums = [jnp.sum(quotient(x, root) * dx, axes, keepdims=bool(axes)) for x, dx in pairs]
    return root, _over_devices(sums, over) / count


def _over_devices(sums: list[jax.Array], over: Over) -> jax.Array:
    """The sum of sums, of which each is taken over mesh axes of its own; in float64 where one of them is."""
    if not any(over):
        return added(sums)
    groups = grouped(zip(over, sums, strict=True))
    return added(added_over(added(xs), names) for names, xs in groups.items())


def added(numbers: Iterable[jax.Array]) -> jax.Array:
    """The sum of scalars in float32, or in float64 where one of them is; 0 where there is none."""
    numbers = list(numbers)
    if len({x.dtype for x in numbers}) > 1:
        numbers = [x.astype(jnp.float64) for x in numbers]
    return functools.reduce(operator.add, numbers) if numbers else jnp.zeros((), jnp.float32)


def unit_norm(x: jax.Array, axes: int | tuple[int, ...] | None = None) -> jax.Array:
    """The norm of what enters each output, which are the last axis; of a vector or a scalar that of the whole.

    The axes that are summed stay, with length 1; others may be given.
    """
    across = tuple(range(max(x.ndim - 1, min(x.ndim, 1)))) if axes is None else axes
    return norm(x, (across,) if isinstance(across, int) else across)


def ratio(norm: jax.Array, other: jax.Array) -> jax.Array:
    """The ratio of two norms; 1 where either is 0, so that a parameter that begins at 0 can leave it."""
    none = (norm == 0) | (other == 0)
    return jnp.where(none, 1, norm / jnp.where(none, 1, other))


def unit_factor(norm: jax.Array, scale: Any, eps: Any) -> jax.Array:
    """The factor `scale / (norm + eps)` that brings a norm to `scale`; 0 where the divisor is 0."""
    return quotient(scale, norm + eps)


def quotient(a: Any, b: jax.Array) -> jax.Array:
    """`a / b`; 0 where the divisor is 0."""
    none = b == 0
    return jnp.where(none, 0, a / jnp.where(none, 1, b))


def all_finite(tree: Any) -> jax.Array:
    """Whether no entry of any leaf is NaN or infinite."""
    # The sum is as fast as a reduction gets; finite entries make it infinite only near the largest number of all.
    leaves = jax.tree.leaves(tree)
    over, finite = map(across, leaves), [jnp.isfinite(jnp.sum(wide(x))) for x in leaves]
    groups = {names: jnp.stack(xs).all() for names, xs in grouped(zip(over, finite, strict=True)).items()}
    finite = [x if not names else added_over((~x).astype(jnp.int32), names) == 0 for names, x in groups.items()]
    return functools.reduce(operator.and_, finite) if finite else jnp.ones((), bool)


def clip_factor(norm: jax.Array, max_norm: Any) -> jax.Array:
    """The factor that brings a norm down to at most `max_norm`.

    A product with this factor stays in one fusion with what follows, which a `where` between two arrays does not.
    """
    return max_norm / jnp.maximum(norm, max_norm)
