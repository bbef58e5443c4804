"""A parameter that has a mask, as units that compete."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.gather import gathered, scattered
from optchain.core.numbers import Seed
from optchain.pruning.scores import Score, scored
from optchain.pruning.structures import Structure
from optchain.storage.rounding import random_bits


@dataclasses.dataclass(frozen=True)
class Part:
    """A parameter's path, its shape with and without the axes that count layers, and what is pruned together."""

    path: str
    stacked: tuple[int, ...]
    depth: int
    structure: Structure

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one layer."""
        return self.stacked[self.depth :]

    @property
    def size(self) -> int:
        """The entries of all layers."""
        return math.prod(self.stacked)

    def scores(self, score: Score, p: jax.Array, g: jax.Array, seed: Seed, t: Any) -> jax.Array:
        """The scores of the units of each layer."""
        bits = random_bits(p.shape, seed, t, self.path) if score == "random" else jnp.zeros(p.shape, jnp.uint32)

        def law(leaf: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
            return self.structure.units(scored(score, *leaf))

        # A sort has no layout across a sharded axis.
        return Form(self.depth).over(law)((gathered(p, 0), gathered(g, 0), bits))

    def active(self, mask: jax.Array) -> jax.Array:
        """The units that a mask keeps."""
        whole = gathered(mask, 0).astype(jnp.float32)
        return Form(self.depth).over(self.structure.units)(whole) > 0

    def mask(self, units: jax.Array, like: jax.Array) -> jax.Array:
        """The mask that keeps these units, laid out as an array like the parameter."""
        spread = Form(self.depth).over(lambda rows: self.structure.entries(rows, self.shape))
        return scattered(spread(units), like)
