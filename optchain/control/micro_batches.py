"""How many micro-batches make a step: a number, or a schedule of the steps made."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numbers import Number, at


def micro_batches(every: Number, emitted: jax.Array) -> jax.Array:
    """How many make the next step."""
    return jnp.round(jnp.asarray(at(every, emitted), jnp.float32)).astype(jnp.int32)


def is_full(every: Number, emitted: jax.Array, micro: jax.Array, extra: Mapping[str, Any]) -> jax.Array:
    """Whether so many make a step, or the extra argument `emit` asks for one."""
    return (micro >= micro_batches(every, emitted)) | jnp.asarray(extra.get("emit", False), bool)


def is_one(every: Number) -> bool:
    """Whether every micro-batch is a batch, of which everything may be read."""
    return isinstance(every, float) and every == 1
