"""The gradient of a table of which only some rows were looked up."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import whole_rows, with_added
from optchain.core.numerics import wide


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RowGradient:
    r"""The gradient of a table as rows: :math:`G_r = \sum_{i:\, \mathrm{indices}_i = r} \mathrm{values}_i`.

    It is a pytree, so it passes through `jit`, `vmap`, `scan` and `cond`. `oc.row_value_and_grad` makes it,
    `oc.rows` takes it, and `oc.apply` is how the rows reach the table.

    Fields:
        indices: the rows, int32[n], in any order and as often as they were looked up. What lies outside
            [0, num_rows) is padding.
        values: what is added to each, of shape (n, ...) with the axes of one row after the first.
        num_rows: rows of the table, a Python number.

    It is not a `jax.experimental.sparse.BCOO`, which could hold the same arrays: JAX does not develop that any further
    and advises against it where performance counts, and its counts of batch, sparse and dense axes would have to be
    checked everywhere.
    """

    indices: jax.Array
    values: jax.Array
    num_rows: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def none(cls, table: "jax.Array | RowGradient", rows: int) -> "RowGradient":
        """A gradient of n rows of padding, for a table."""
        n, *row = table.shape
        return cls(jnp.full(rows, n, jnp.int32), jnp.zeros((rows, *row), table.dtype), n)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the table."""
        return self.num_rows, *self.values.shape[1:]

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype

    def summed(self) -> "RowGradient":
        """The same gradient with each row once, in ascending order, and the padding after them; in float32 or wider."""
        bounded, values = self.bounded(), whole_rows(wide(self.values))
        indices, order = _sorted(bounded, self.num_rows)
        first = jnp.concatenate([jnp.ones(1, bool), indices[1:] != indices[:-1]])[: len(indices)]
        rank = jnp.cumsum(first) - 1
        place = jnp.zeros_like(order).at[order].set(rank, mode="promise_in_bounds", unique_indices=True)
        inside = jnp.expand_dims(bounded < self.num_rows, range(1, values.ndim))
        sums = with_added(jnp.zeros_like(values), place, jnp.where(inside, values, 0), mode="promise_in_bounds")
        rows = jnp.full_like(indices, self.num_rows).at[rank].set(indices, mode="promise_in_bounds")
        return RowGradient(rows, sums, self.num_rows)

    def dense(self) -> jax.Array:
        """The same gradient as an array of the table's shape."""
        values = whole_rows(self.values)
        none = jnp.zeros(self.shape, self.dtype, out_sharding=jax.typeof(values).sharding)
        return with_added(none, self.bounded(), values, mode="drop")

    def __add__(self, other: "RowGradient") -> "RowGradient":
        """The sum of two gradients of one table: the rows of both."""
        if not isinstance(other, RowGradient):
            return NotImplemented
        if self.shape != other.shape:
            raise ValueError(f"these are gradients of other tables: their shapes are {self.shape} and {other.shape}")
        joined = jnp.concatenate([self.bounded(), other.bounded()]), jnp.concatenate([self.values, other.values])
        return RowGradient(*joined, self.num_rows)

    def padded(self, rows: int) -> "RowGradient":
        """The same gradient with padding up to `rows` rows."""
        return self + RowGradient.none(self, rows - len(self.indices))

    def bounded(self) -> jax.Array:
        """The indices, with `num_rows` for all padding: a negative one would count from the end."""
        indices = whole_rows(self.indices)  # what sorts them or writes in their order has them all
        inside = (indices >= 0) & (indices < self.num_rows)
        return jnp.where(inside, indices, self.num_rows)


def _sorted(indices: jax.Array, most: int) -> tuple[jax.Array, jax.Array]:
    """Indices from 0 to `most` in ascending order, and where each of them stood."""
    n = len(indices)
    if (most + 1) * n > 2**32 - 1:
        order = jnp.argsort(indices)
        return indices[order], order
    # Both in one number: on a CPU XLA sorts single numbers in a quarter of the time that pairs take.
    keys = jnp.sort(indices.astype(jnp.uint32) * n + jnp.arange(n, dtype=jnp.uint32))
    return (keys // n).astype(indices.dtype), (keys % n).astype(jnp.int32)


def is_row_gradient(x: Any) -> bool:
    """Whether this stands in a tree of gradients for the gradient of a table."""
    return isinstance(x, RowGradient)


def summed(tree: Any) -> Any:
    """A tree of gradients with the summed rows of a table for its gradient: what norms are taken of."""
    return jax.tree.map(lambda x: x.summed().values if is_row_gradient(x) else x, tree, is_leaf=is_row_gradient)
