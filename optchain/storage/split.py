"""A float32 array as bfloat16 and the bits that it lacks: 16 of them, or 8 after rounding at random."""

import jax
import jax.numpy as jnp

DTYPES = {"split": jnp.int16, "split8": jnp.int8}


def split(x: jax.Array, dtype: jax.typing.DTypeLike, bits: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
    """The nearest bfloat16, and what `joined` makes the array of again: exactly, or of 8 bits 24 bits of it in all.

    A tie rounds away from 0 and not to even, else what is left would have one value more than fits its bits. What is
    not finite is bfloat16 alone.

    Args:
        x: float32.
        dtype: of the rest, int16 or int8.
        bits: with int8, random uint32 of the same shape: rounding is exact on average.
    """
    size = jnp.iinfo(dtype).bits
    word = jax.lax.bitcast_convert_type(x, jnp.uint32)
    if bits is not None:
        word = (word + (bits >> (16 + size))) >> (16 - size)
    upper = (word + jnp.uint32(1 << (size - 1))) >> size
    # The rest of a word is taken as a signed number of as many bits.
    rest = jax.lax.bitcast_convert_type((word - (upper << size)).astype(f"uint{size}"), dtype)
    nearest = jax.lax.bitcast_convert_type(upper.astype(jnp.uint16), jnp.bfloat16)
    finite = jnp.isfinite(x) & jnp.isfinite(nearest.astype(jnp.float32))
    return jnp.where(finite, nearest, x.astype(jnp.bfloat16)), jnp.where(finite, rest, 0)


def joined(p: jax.Array, rest: jax.Array) -> jax.Array:
    """The float32 array that was split into these."""
    size = jnp.iinfo(rest.dtype).bits
    upper = jax.lax.bitcast_convert_type(p, jnp.uint16).astype(jnp.uint32)
    word = ((upper << size) + rest.astype(jnp.int32).astype(jnp.uint32)) << (16 - size)
    return jax.lax.bitcast_convert_type(word, jnp.float32)


def rest_of(x: jax.Array, p: jax.Array, dtype: jax.typing.DTypeLike) -> jax.Array:
    """What a bfloat16 array that is `x` rounded in some way lacks of it, as `joined` takes it; of ties, nearly that."""
    size, largest = jnp.iinfo(dtype).bits, jnp.iinfo(dtype)
    word = jax.lax.bitcast_convert_type(x, jnp.uint32)
    word = (word + ((jnp.uint32(1) << (16 - size)) >> 1)) >> (16 - size)
    upper = jax.lax.bitcast_convert_type(p, jnp.uint16).astype(jnp.uint32) << size
    rest = jax.lax.bitcast_convert_type(word - upper, jnp.int32)
    return jnp.where(jnp.isfinite(x), jnp.clip(rest, largest.min, largest.max), 0).astype(dtype)
