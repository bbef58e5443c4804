"""The order in which examples are seen: which row stands at a position, without an array of the epoch.

The epochs are laid end to end. Each is a permutation of the rows, drawn from the seed and the number of the epoch: a
Feistel network, which permutes the numbers below a power of 4, applied again while its result is not a row (cycle
walking). All arithmetic is in uint32, so `numpy` on the host and `jax.numpy` on the device give the same bits.

References:
    Luby and Rackoff, "How to construct pseudorandom permutations from pseudorandom functions", 1988.
    Black and Rogaway, "Ciphers with arbitrary finite domains", 2002, section 4 (cycle walking).
"""

from types import ModuleType
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

ROUNDS = 10  # of the network; with 6 the order of a dozen rows is visibly biased
GOLDEN = 0x9E3779B9  # 2**32 over the golden ratio: its multiples keep the rounds apart

Array = Any  # of NumPy or of JAX


def seed_of(key: jax.Array) -> jax.Array:
    """The seed of an order, u32, from a random key; `numpy.uint32` of it serves the host."""
    return jax.random.bits(key, dtype=jnp.uint32)


def rows(seed: Array, first: Array | int, count: int, size: Array | int, xp: ModuleType) -> Array:
    """The rows at the positions from `first` on, as i32[count]; the time and the memory do not depend on the position.

    Args:
        seed: u32, the same for a whole run; may be traced.
        first: the first position, from 0 to 2**32 - count; may be traced.
        count: how many positions, static.
        size: examples per epoch; an array of JAX, at least 1, where it is traced.
        xp: `numpy` or `jax.numpy`, which computes them.

    Raises:
        ValueError: if `size` is not from 1 to 2**31 - 1.
    """
    if isinstance(size, jax.Array):
        bits = 32 - jax.lax.clz(size.astype(jnp.uint32) - 1)
    elif 1 <= size < 2**31:
        bits = (size - 1).bit_length()
    else:
        raise ValueError(f"order of examples: got size = {size}; expected 1 <= size < 2**31")
    half, size = xp.maximum(1, (bits + 1) // 2).astype(xp.uint32), xp.asarray(size, xp.uint32)
    positions = xp.asarray(first, xp.uint32) + xp.arange(count, dtype=xp.uint32)
    epochs, places = positions // size, positions % size
    keys = _mixed(_mixed(epochs) ^ xp.asarray(seed, xp.uint32))
    walked = _walked_by_jax if xp is jnp else _walked_by_numpy
    return walked(places, keys, size, half).astype(xp.int32)


class ByClass(NamedTuple):
    """The rows of each class, one class after the other."""

    rows: Array  # i32[rows]
    first: Array  # of each class, where its rows begin
    counts: Array  # of each class, which needs a row


def balanced(seed: Array, first: Array | int, count: int, by_class: ByClass, xp: ModuleType) -> Array:
    """The rows at positions where the classes take turns, as i32[count], each drawn from its class with replacement.

    Args:
        seed: u32, the same for a whole run; may be traced.
        first: the first position, from 0 to 2**32 - count; may be traced.
        count: how many positions, static.
        by_class: the rows.
        xp: `numpy` or `jax.numpy`, which computes them.
    """
    positions = xp.asarray(first, xp.uint32) + xp.arange(count, dtype=xp.uint32)
    turns = (positions % np.uint32(len(by_class.counts))).astype(xp.int32)
    drawn = _mixed(_mixed(positions + np.uint32(GOLDEN)) ^ xp.asarray(seed, xp.uint32))
    counts = xp.asarray(by_class.counts, xp.uint32)[turns]
    return by_class.rows[by_class.first[turns] + (drawn % counts).astype(xp.int32)]


def _permuted(numbers: Array, keys: Array, half: Array) -> Array:
    """A permutation of the numbers below 4**half for each key: the Feistel network."""
    mask = (np.uint32(1) << half) - np.uint32(1)
    left, right = numbers >> half, numbers & mask
    for i in range(1, ROUNDS + 1):
        left, right = right, left ^ (_mixed(right ^ (keys + np.uint32(GOLDEN * i % 2**32))) & mask)
    return left << half | right


def _mixed(x: Array) -> Array:
    """The finalizer of MurmurHash3: a permutation of the uint32s in which each bit depends on all bits."""
    x = (x ^ x >> np.uint32(16)) * np.uint32(0x85EBCA6B)
    x = (x ^ x >> np.uint32(13)) * np.uint32(0xC2B2AE35)
    return x ^ x >> np.uint32(16)


def _walked_by_jax(places: jax.Array, keys: jax.Array, size: Array, half: Array) -> jax.Array:
    """The first row that each place leads to. Each walk ends: its cycle comes back to the place, which is a row."""
    return jax.lax.while_loop(
        lambda found: (found >= size).any(),
        lambda found: jnp.where(found >= size, _permuted(found, keys, half), found),
        _permuted(places, keys, half),
    )


def _walked_by_numpy(places: np.ndarray, keys: np.ndarray, size: Array, half: Array) -> np.ndarray:
    found = _permuted(places, keys, half)
    while len(outside := np.flatnonzero(found >= size)):
        found[outside] = _permuted(found[outside], keys[outside], half)
    return found
