"""The memory that is left."""

import jax
import psutil


def free_memory() -> int:
    """The free bytes of the first device, or of the machine where the device does not say."""
    stats = jax.devices()[0].memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats["bytes_in_use"]
    return psutil.virtual_memory().available
