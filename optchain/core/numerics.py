"""Arithmetic shared by the rules; every reduction is made in float32 or wider."""

import math
from typing import Any

import jax
import jax.numpy as jnp


def wide(x: jax.Array) -> jax.Array:
    """The array in the dtype that arithmetic is done in: float32, or float64 where it is one."""
    return jnp.asarray(x, jnp.float64 if jnp.asarray(x).dtype == jnp.float64 else jnp.float32)


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


def log_decay(b: Any) -> Any:
    """The logarithm of a decay; of a constant in double precision."""
    return (math.log(b) if b else -math.inf) if isinstance(b, float) else jnp.log(b)


def weight(b: Any, t: jax.Array) -> jax.Array:
    """The weight `1 - b**t` that an average which began at zero has seen after `t` samples."""
    # expm1 keeps full precision where b**t is near 1.
    return -jnp.expm1(t * log_decay(b))


def decayed(mean: jax.Array, b: Any, k: jax.Array) -> jax.Array:
    """An average, or a decaying sum, after k samples of 0."""
    return mean * jnp.where(k > 0, jnp.exp(k * log_decay(b)), 1).astype(mean.dtype)


def debias(mean: jax.Array, b: Any, t: jax.Array) -> jax.Array:
    """An average that began at zero, divided by the weight that it has seen."""
    return mean / weight(b, t)


def over_root(g: jax.Array, square: jax.Array, eps: Any, eps_in_sqrt: bool) -> jax.Array:
    """The quotient `g / sqrt(square + eps)`, or `g / (sqrt(square) + eps)`; 0 where the divisor is."""
    root = jnp.sqrt(square + eps) if eps_in_sqrt else jnp.sqrt(square) + eps
    return quotient(g, root)


def norm(x: jax.Array) -> jax.Array:
    """The Euclidean norm of one array."""
    return jnp.sqrt(jnp.sum(jnp.square(wide(x))))


def global_norm(tree: Any) -> jax.Array:
    """The Euclidean norm of all leaves together, in the widest of their dtypes or float32; 0 for an empty tree."""
    squares = [jnp.sum(jnp.square(wide(x))) for x in jax.tree.leaves(tree)]
    dtype = jnp.float64 if any(x.dtype == jnp.float64 for x in squares) else jnp.float32
    return jnp.sqrt(sum((x.astype(dtype) for x in squares), jnp.zeros((), dtype)))


def unit_norm(x: jax.Array) -> jax.Array:
    """The norm of what enters each output, which are the last axis; of a vector or a scalar that of the whole.

    The axes that are summed stay, with length 1.
    """
    axes = tuple(range(max(x.ndim - 1, min(x.ndim, 1))))
    return jnp.sqrt(jnp.sum(jnp.square(wide(x)), axis=axes, keepdims=True))


def ratio(norm: jax.Array, other: jax.Array) -> jax.Array:
    """The ratio of two norms; 1 where either is 0, so that a parameter that begins at 0 can leave it."""
    none = (norm == 0) | (other == 0)
    return jnp.where(none, 1, norm / jnp.where(none, 1, other))


def unit_factor(norm: jax.Array, scale: Any, eps: Any) -> jax.Array:
    """The factor `scale / (norm + eps)` that brings a norm to `scale`; 0 where the divisor is."""
    return quotient(scale, norm + eps)


def quotient(a: Any, b: jax.Array) -> jax.Array:
    """`a / b`; 0 where the divisor is."""
    return jnp.where(b == 0, 0, a / jnp.where(b == 0, 1, b))


def all_finite(tree: Any) -> jax.Array:
    """Whether no entry of any leaf is NaN or infinite."""
    # The sum is as fast as a reduction gets; finite entries make it infinite only near the largest number of all.
    sums = [jnp.sum(wide(x)) for x in jax.tree.leaves(tree)]
    return jnp.stack([jnp.isfinite(x) for x in sums]).all() if sums else jnp.ones((), bool)


def clip_factor(norm: jax.Array, max_norm: Any) -> jax.Array:
    """The factor that brings a norm down to at most `max_norm`.

    A product with this factor stays in one fusion with what follows, which a `where` between two arrays does not.
    """
    return max_norm / jnp.maximum(norm, max_norm)
