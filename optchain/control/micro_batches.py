"""How many micro-batches make a step: a number, or a schedule of the steps made."""

import jax
import jax.numpy as jnp

from optchain.core.numbers import Number, at


def micro_batches(every: Number, emitted: jax.Array) -> jax.Array:
    """How many make the next step."""
    return jnp.round(jnp.asarray(at(every, emitted), jnp.float32)).astype(jnp.int32)


def is_one(every: Number) -> bool:
    """Whether every micro-batch is a batch, of which everything may be read."""
    return isinstance(every, float) and every == 1
