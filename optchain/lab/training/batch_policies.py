"""How many examples each step sees: a pure function of the step and of what is carried."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.inspect.config import schedule_from_config
from optchain.lab.settings import train
from optchain.lab.settings.places import target
from optchain.lab.training import noise_scale

State = Any  # of a policy: part of the carry


@dataclasses.dataclass(frozen=True)
class Policy:
    """Batches of one size."""

    table: Any  # its numbers may be traced

    measures = False  # whether it needs the squared norms of the gradients

    @property
    def micro(self) -> int | None:
        """Examples whose gradient is computed at once; None for a whole batch."""
        return self.table.micro

    def start(self) -> State:
        """What is carried before the first step."""
        return {}

    def count(self, key: jax.Array, step: jax.Array, state: State) -> jax.Array:
        """The micro-batches of a step, as i32."""
        return jnp.asarray(self.table.largest // self.table.micro, jnp.int32)

    def follow(self, state: State, small: jax.Array, large: jax.Array, count: jax.Array) -> State:
        """What is carried after a step: from the mean squared norm over its micro-batches, and that of their mean."""
        return state

    def metrics(self, state: State) -> dict[str, jax.Array]:
        """What is logged besides the size."""
        return {}

    def rate_factor(self, size: jax.Array | int) -> jax.Array:
        """By what the learning rates are multiplied at a size."""
        over = jnp.asarray(size, jnp.float32) / self.table.base
        return over if self.table.scale_rate == "linear" else jnp.sqrt(over)

    def _rounded(self, size: jax.Array) -> jax.Array:
        """A size that need not be whole, as micro-batches; what is no number is the smallest."""
        sizes = self.table.sizes_named().values()
        held = jnp.clip(jnp.nan_to_num(size, nan=0.0, posinf=jnp.inf), min(sizes), max(sizes))
        return jnp.round(held / self.table.micro).astype(jnp.int32)


class Drawn(Policy):
    """Each size is as likely as the others at every step."""

    def count(self, key: jax.Array, step: jax.Array, state: State) -> jax.Array:
        counts = jnp.asarray(self.table.sizes, jnp.int32) // self.table.micro
        return jax.random.choice(jax.random.fold_in(key, step), counts)


class Scheduled(Policy):
    """The size is a schedule of the step.

    References:
        Smith et al., 2017, arXiv:1711.00489: what a decay of the rate does, growth of the batch does too.
    """

    def count(self, key: jax.Array, step: jax.Array, state: State) -> jax.Array:
        return self._rounded(schedule_from_config(self.table.size, "train.batch.size", resolve=target)(step))


class Measured(Policy):
    """The size follows the noise scale of the gradient; see `noise_scale`."""

    measures = True

    def start(self) -> State:
        return noise_scale.start()

    def count(self, key: jax.Array, step: jax.Array, state: State) -> jax.Array:
        return self._rounded(noise_scale.noise_scale(state))

    def follow(self, state: State, small: jax.Array, large: jax.Array, count: jax.Array) -> State:
        moments = noise_scale.estimate(small, large, self.table.micro, count * self.table.micro)
        return noise_scale.follow(state, moments, self.table.decay)

    def metrics(self, state: State) -> dict[str, jax.Array]:
        return {"noise_scale": noise_scale.noise_scale(state)}


POLICIES: dict[type[train.Batch], type[Policy]] = {
    train.Fixed: Policy,
    train.RandomSizes: Drawn,
    train.Growing: Scheduled,
    train.NoiseScale: Measured,
}


def build(table: train.Train) -> Policy:
    """The policy that a configuration describes."""
    return POLICIES[type(table.policy)](table.policy)
