"""An embedding for Flax's nnx whose gradient can be that of the looked-up rows."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from optchain.embeddings import value_and_grad
from optchain.embeddings.look_up import look_up


class Embed(nnx.Embed):
    """`flax.nnx.Embed`, with the same arguments, parameter and outputs, for `row_value_and_grad` below.

    Within any other function it is what it inherits from. `attend` uses the whole table, so its gradient is dense.
    """

    def __call__(self, inputs: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The rows of `inputs`, integers of any shape, along a new last axis."""
        rows = look_up(self.embedding[...], inputs)
        (rows,) = self.promote_dtype((rows,), dtype=self.dtype, inexact=False)
        return rows

    def attend(self, query: jax.Array) -> jax.Array:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The inner products of `query` with every row."""
        query, table = self.promote_dtype((query, jnp.asarray(self.embedding[...])), dtype=self.dtype)
        return query @ table.T


def row_value_and_grad(
    fun: Callable[..., Any], tables: str | Sequence[str] = "*embedding", has_aux: bool = False
) -> Callable[..., Any]:
    """`optchain.row_value_and_grad` for a function of an nnx module: its first argument.

    What the function changes in the module (batch statistics, random streams) is changed, as with `nnx.value_and_grad`.

    Args:
        fun: a function of a module and anything else, that returns a scalar.
        tables: a pattern on paths of the module's parameters, or several.
        has_aux: whether `fun` returns a pair of the scalar and something else.

    Returns:
        A function with the arguments of `fun` that returns `(value, gradients)`, the gradients in the structure of
        `nnx.state(module, nnx.Param)`.
    """

    @functools.wraps(fun)
    def of_module(module: Any, *args: Any, **kwargs: Any) -> Any:
        graph, params, rest = nnx.split(module, nnx.Param, ...)

        def pure(params: Any, rest: Any) -> tuple[jax.Array, Any]:
            replica = nnx.merge(graph, params, rest, copy=True)
            result = fun(replica, *args, **kwargs)
            value, aux = result if has_aux else (result, None)
            return value, (aux, nnx.state(replica, nnx.Not(nnx.Param)))

        (value, (aux, rest)), grads = value_and_grad.row_value_and_grad(pure, tables, has_aux=True)(params, rest)
        nnx.update(module, rest)
        return ((value, aux) if has_aux else value), grads

    return of_module
