"""Slots in bfloat16."""

import dataclasses

import jax

from optchain.core.numerics import wide
from optchain.storage.rounding import stochastic_round


@dataclasses.dataclass(frozen=True)
class Narrow:
    """Slots in bfloat16, rounded up or down at random."""

    random = True

    def encode(self, x: jax.Array, bits: jax.Array) -> jax.Array:
        return stochastic_round(x, bits)

    def decode(self, x: jax.Array, shape: tuple[int, ...]) -> jax.Array:
        return wide(x)

    def stacks(self, shape: tuple[int, ...]) -> bool:
        return True

    def __str__(self) -> str:
        return "bfloat16"
