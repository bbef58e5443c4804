"""Looking up rows of a table so that its gradient is that of the rows."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import looked_up


def _trace() -> Any:
    """The trace that is going on."""
    # Not imported with the module: it takes 50 ms. Before JAX 0.10 it stood in `jax.core`.
    try:
        from jax.extend.core import get_opaque_trace_state
    except ImportError:
        from jax.core import get_opaque_trace_state

    return get_opaque_trace_state(convention="nnx")


class Record:
    """The look-ups in one table, in the order in which a function makes them while it is traced."""

    def __init__(self, path: str, taps: list[jax.Array] | None = None) -> None:
        self.path, self.taps = path, taps
        self.ids: list[jax.Array] = []
        self.used_whole = False
        self._within = _trace()

    def tap(self, rows: jax.Array, ids: jax.Array) -> jax.Array:
        """The rows that were looked up, plus the zeros whose gradient is theirs."""
        if _trace() != self._within:
            expected = "rows must be looked up outside of jit, scan, vmap, remat and the like within the function"
            raise ValueError(f"table {self.path!r} is looked up in a transformation of its own; {expected}")
        self.ids.append(ids)
        return rows if self.taps is None else rows + self.taps[len(self.ids) - 1]


OPERATORS = """add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul rmatmul neg pos
    abs len iter"""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Table:
    """A table while `oc.row_value_and_grad` traces a function: what stands among its parameters for the array.

    It has the attributes, methods and operators of an array, each of which uses all of it.
    """

    array: jax.Array
    record: Record = dataclasses.field(metadata={"static": True})

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def ndim(self) -> int:
        return self.array.ndim

    @property
    def size(self) -> int:
        return self.array.size

    @property
    def dtype(self) -> Any:
        return self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        # `variable[...]` is how every version of nnx reads what a variable holds.
        return self if key is ... else self.whole()[key]

    def __getattr__(self, name: str) -> Any:
        # What no array has is asked for to tell objects apart, which uses nothing.
        if name in self.__dataclass_fields__ or name.startswith("_") or not hasattr(jax.Array, name):
            raise AttributeError(f"a table has no attribute {name!r}")
        return getattr(self.whole(), name)

    def whole(self) -> jax.Array:
        """The array, for a use of all of it, after which its gradient is dense."""
        self.record.used_whole = True
        return self.array

    # Whatever else a model does with the table is such a use.
    __jax_array__ = whole


def _operator(name: str) -> Callable[..., Any]:
    def applied(table: Table, *args: Any) -> Any:
        return getattr(table.whole(), name)(*args)

    return applied


for _name in OPERATORS.split():
    setattr(Table, f"__{_name}__", _operator(f"__{_name}__"))


def look_up(table: Any, ids: jax.Array) -> jax.Array:
    """Rows of a table by their numbers, as `jnp.take(table, ids, axis=0)`, seen as rows by `row_value_and_grad`.

    Args:
        table: an array, rows along its first axis.
        ids: integers of any shape; negative ones count from the end, and what lies outside gives NaN, as with
            `jnp.take`.

    Returns:
        An array of shape `(*ids.shape, *table.shape[1:])`.

    Raises:
        ValueError: ids that are not integers.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> oc.look_up(jnp.arange(6.0).reshape(3, 2), jnp.array([2, 0])).tolist()
    [[4.0, 5.0], [0.0, 1.0]]
    """
    ids = jnp.asarray(ids)
    if not jnp.issubdtype(ids.dtype, jnp.integer):
        raise ValueError(f"look_up: ids must be integers, got {ids.dtype}{list(ids.shape)}")
    if not isinstance(table, Table):
        return looked_up(table, ids, mode="fill")
    rows = looked_up(jax.lax.stop_gradient(table.array), ids, mode="fill")
    return table.record.tap(rows, jnp.where(ids < 0, ids + len(table.array), ids))
