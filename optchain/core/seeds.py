"""Seeds of random numbers: a whole number or a key of `jax.random`, either of which may be traced."""

from typing import Any

import jax
import jax.numpy as jnp

LOW = 2**32 - 1  # the bits of one word


def checked_seed(owner: str, name: str, value: Any) -> Any:
    """A seed as it was given; anything but a whole number or a key is an error."""
    dtype = getattr(value, "dtype", None)
    if dtype is None:
        valid = type(value) is int
    else:
        data = dtype == jnp.uint32 and value.ndim == 1  # what `jax.random.PRNGKey` makes
        valid = data or (value.ndim == 0 and (_is_key(value) or jnp.issubdtype(dtype, jnp.integer)))
    if not valid:
        raise ValueError(f"{owner}: {name} must be a whole number or a key of jax.random, got {value!r}")
    return value


def key_of(seed: Any) -> jax.Array:
    """A seed as a key of `jax.random`."""
    if isinstance(seed, int):
        return jax.random.key(seed)
    if _is_key(seed):
        return seed
    return jax.random.wrap_key_data(seed) if seed.ndim else jax.random.key(seed)


def words_of(seed: Any) -> list[Any]:
    """A seed as words of 32 bits, for a hash: a number is one word, and two where it is larger than that."""
    if isinstance(seed, int):
        return [jnp.uint32(seed & LOW), *([jnp.uint32(seed >> 32 & LOW)] if not -(2**31) <= seed <= LOW else [])]
    if _is_key(seed):
        seed = jax.random.key_data(seed)
    return list(seed.ravel().astype(jnp.uint32)) if seed.ndim else [jnp.asarray(seed).astype(jnp.uint32)]


def _is_key(x: jax.Array) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
