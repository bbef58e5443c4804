"""The weight that a running mean has seen, exact over millions of steps even if its decay has changed.

A mean that starts at 0 has seen the weight `1 - b_1 b_2 ... b_t`. The logarithm of the product is kept as two numbers,
the sum and what its rounding lost. Over a million float32 steps a plain `seen <- b seen + 1 - b` is wrong by 2e-5 at a
decay of 0.999 and 4e-3 at 0.99999, a plain sum of logarithms by 6e-6 and 6e-4, these two numbers by 4e-7 at any decay.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

LEAST = -104.0  # the logarithm of what is 0 in float32; a decay of 0 has no logarithm


def nothing_seen(dtype: Any) -> dict[str, jax.Array]:
    """The logarithm before the first sample, in the widest dtype of the means."""
    return {"log": jnp.zeros((), dtype), "lost": jnp.zeros((), dtype)}


def with_sample(seen: dict[str, jax.Array], b: Any) -> tuple[dict[str, jax.Array], jax.Array]:
    """The logarithm after one more sample at this decay, and the weight seen with it, in (0, 1]."""
    return _added(seen, log_decay(b))


@functools.partial(jax.jit, inline=True)  # one call where nothing else is compiled, and no equation more where all is
def _added(seen: dict[str, jax.Array], log_b: jax.Array) -> tuple[dict[str, jax.Array], jax.Array]:
    term = log_b + seen["lost"]
    log = seen["log"] + term
    return {"log": log, "lost": term - (log - seen["log"])}, weight(log)


def log_decay(b: Any) -> Any:
    """The logarithm of a decay, bounded from below; of a constant in double precision."""
    if isinstance(b, float):
        return max(math.log(b), LEAST) if b else LEAST
    return jnp.maximum(jnp.log1p(b - 1), LEAST)  # b - 1 is exact near 1


def weight(log: jax.Array) -> jax.Array:
    """The weight seen, in (0, 1], from its logarithm."""
    return -jnp.expm1(log)
