"""What a schedule of masks is: when they change, how many weights they keep, and what becomes of them."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.registry import MASK_SCHEDULE, Registered, register
from optchain.masking.largest import largest
from optchain.pruning.scores import Score


class Pool(NamedTuple):
    """Units that compete with one another along the last axis; the axes before it count pools of one kind."""

    active: jax.Array  # bool, those that the old mask keeps
    score: Callable[[Score | None], jax.Array]  # their scores by name; those that `sparse` was given for None
    count: Any  # how many the new mask keeps
    sizes: jax.Array | None  # what each of them counts for, where that is not 1


@dataclasses.dataclass(frozen=True)
class MaskSchedule:
    """Masks that are chosen once; subclasses change them.

    `keeps_dense` tells that pruned weights live on behind the masks; `begins_sparse` that there are masks from the
    start.
    """

    keeps_dense = False

    @property
    def begins_sparse(self) -> bool:
        """Whether weights are pruned from the first step on."""
        return True

    def due(self, t: jax.Array) -> Any:
        """Whether the masks change at step t, counted from 0, after they were first chosen; False where never."""
        return False

    def count(self, t: Any, count: Any, units: int) -> Any:
        """How many of the units are kept at step t, where `count` of them are to be kept in the end."""
        return count

    def chosen(self, pool: Pool) -> jax.Array:
        """The active units with the largest scores."""
        return largest(jnp.where(pool.active, pool.score(None), -jnp.inf), pool.count, pool.sizes)

    def renewed(self, pool: Pool, t: jax.Array) -> jax.Array:
        """The units that a new mask keeps at step t."""
        return self.chosen(pool)


def mask_schedule(function: Callable[..., MaskSchedule]) -> Callable[..., MaskSchedule]:
    """Mark a public function as a schedule of masks, which configurations find by its name."""
    register(Registered(function, MASK_SCHEDULE, {}))
    return function
