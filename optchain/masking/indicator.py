"""What indicators have in common: a bool for each entry."""

from typing import Any

import jax
import jax.numpy as jnp


def checked_bools(owner: str, bools: Any, like: jax.Array) -> jax.Array:
    """What an indicator gives for an array; anything but a bool for each of its entries is an error."""
    shape, dtype = jnp.shape(bools), jnp.result_type(bools)
    if shape != like.shape or dtype != jnp.bool:
        raise ValueError(f"{owner}: the indicator gives {dtype}{shape}, expected bool{like.shape}")
    return bools
