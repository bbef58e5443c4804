"""Which rows of a table a step reads and writes."""

import dataclasses
from typing import Protocol

import jax
import jax.numpy as jnp

from optchain.core.gather import laid_out, looked_up, with_rows
from optchain.core.row_gradient import RowGradient

# From this share of its rows on, a table is updated as a whole: sorting, gathering and scattering then take longer than
# reading all of it. Measured by `python -m experiments.benchmarks rows --crossover`.
CROSSOVER = 0.25


class Touched(Protocol):
    """The rows of one table, of n rows, that a step touches."""

    @property
    def gradient(self) -> jax.Array:
        """That of the rows that are taken."""
        ...

    def take(self, x: jax.Array) -> jax.Array:
        """What belongs to these rows, from an array with one entry for each row of the table along its first axis."""
        ...

    def put(self, x: jax.Array, new: jax.Array) -> jax.Array:
        """The array with new entries for these rows."""
        ...


@dataclasses.dataclass(frozen=True)
class Some:
    """Few rows, each once; those at `num_rows` are padding, which is taken as zeros and never put."""

    gradient: jax.Array
    rows: jax.Array

    def take(self, x: jax.Array) -> jax.Array:
        return looked_up(x, self.rows, mode="fill", fill_value=0, indices_are_sorted=True)

    def put(self, x: jax.Array, new: jax.Array) -> jax.Array:
        return with_rows(x, self.rows, new, mode="drop", indices_are_sorted=True)


@dataclasses.dataclass(frozen=True)
class Marked:
    """Reads the whole table and writes back only the marked rows."""

    gradient: jax.Array
    marks: jax.Array

    def take(self, x: jax.Array) -> jax.Array:
        return x

    def put(self, x: jax.Array, new: jax.Array) -> jax.Array:
        marks = laid_out(self.marks, x, jax.typeof(x).sharding.spec[:1])
        return jnp.where(jnp.expand_dims(marks, range(1, x.ndim)), new.astype(x.dtype), x)


@dataclasses.dataclass(frozen=True)
class All:
    """All rows: the gradient is dense."""

    gradient: jax.Array

    def take(self, x: jax.Array) -> jax.Array:
        return x

    def put(self, x: jax.Array, new: jax.Array) -> jax.Array:
        return new.astype(x.dtype)


def touched(gradient: jax.Array | RowGradient, few: bool = False) -> Touched:
    """The rows that a gradient touches.

    Args:
        gradient: of the table.
        few: never take the whole table for a gradient of rows, however many there are.
    """
    if not isinstance(gradient, RowGradient):
        return All(gradient)
    if few or len(gradient.indices) < CROSSOVER * gradient.num_rows:
        rows = gradient.summed()
        return Some(rows.values, rows.indices)
    marks = jnp.zeros(gradient.num_rows, bool).at[gradient.bounded()].set(True, mode="drop")
    return Marked(gradient.dense(), marks)
