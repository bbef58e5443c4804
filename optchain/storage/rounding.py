"""Rounding to bfloat16: stochastic, with bits that depend on the element and not on how it is sharded."""

import zlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.seeds import words_of
from optchain.core.whole import index

_ODD = (0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D)  # multipliers of xxHash32, which mix every bit of a word into the others


def random_bits(shape: tuple[int, ...], seed: Any, step: Any, path: str | jax.Array) -> jax.Array:
    """32 random bits for each element: a hash of the seed, the step, the leaf's path and the element's index.

    Of a part of an array, `part_from` says where it begins. A path may be hashed already.

    Under `jit`, and within `shard_map` in the law of a leaf under `over_axes`, the index is that in the whole array, so
    that the bits are the same however it is sharded; elsewhere within `shard_map` it is that in the shard.
    """
    place = index(shape)
    word = jnp.uint32(hashed(path)) if isinstance(path, str) else path
    return _mixed(place * jnp.uint32(_ODD[0]) ^ _key(word, seed, step))


def random_bits_of_stack(shape: tuple[int, ...], seed: Any, step: Any, paths: Sequence[str], size: int) -> jax.Array:
    """The `random_bits` of each of several leaves of this many entries, which lie one after another in an array.

    What one entry of the first axis holds, in the whole array a leaf and in a part of it a row, is of one leaf.
    """
    place = index(shape)
    leaf = place[(slice(None), *[slice(1)] * (len(shape) - 1))] // jnp.uint32(size)
    keys = _key(jnp.asarray(list(map(hashed, paths)), jnp.uint32), seed, step)
    return _mixed((place - leaf * jnp.uint32(size)) * jnp.uint32(_ODD[0]) ^ keys[leaf])


def stochastic_round(x: jax.Array, bits: jax.Array) -> jax.Array:
    """A float32 array in bfloat16, each entry rounded up or down with the probability that makes it exact on average.

    .. math::
        P(\\text{up}) = (x - \\lfloor x \\rfloor) / (\\lceil x \\rceil - \\lfloor x \\rfloor)

    Args:
        x: float32.
        bits: random uint32 of the same shape; the upper 16 are used.
    """
    word = jax.lax.bitcast_convert_type(x, jnp.uint32)
    # bfloat16 is the upper half of float32: a random lower half carries into it as often as its fraction says.
    rounded = jax.lax.bitcast_convert_type((word + (bits >> 16)) & jnp.uint32(0xFFFF0000), jnp.float32)
    return jnp.where(jnp.isfinite(x), rounded, x).astype(jnp.bfloat16)


def hashed(path: str) -> int:
    """A path as one word of 32 bits."""
    return zlib.crc32(path.encode())


def _key(key: jax.Array, seed: Any, step: Any) -> jax.Array:
    for word in (*words_of(seed), jnp.asarray(step).astype(jnp.uint32)):
        key = _mixed(key ^ word)
    return key


def _mixed(x: jax.Array) -> jax.Array:
    """A word of which each bit depends on all bits of the given one (the final mix of xxHash32)."""
    x = (x ^ (x >> 15)) * jnp.uint32(_ODD[1])
    x = (x ^ (x >> 13)) * jnp.uint32(_ODD[2])
    return x ^ (x >> 16)
