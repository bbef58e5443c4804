"""Gradients of large tables as rows, without ever making the dense gradient."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import whole_rows
from optchain.core.mask import select
from optchain.core.paths import names_of
from optchain.core.row_gradient import RowGradient
from optchain.embeddings.look_up import Record, Table


def row_value_and_grad(
    fun: Callable[..., Any], tables: str | Sequence[str] = "*embedding", has_aux: bool = False
) -> Callable[..., Any]:
    """The value and the gradient of a function as `jax.value_and_grad`, with gradients of rows for the tables.

    The memory and the time of the backward pass depend on the rows that are looked up, not on the size of the table. A
    table may be looked up several times, by `optchain.look_up` or by the `Embed` of `optchain.embeddings.linen` or
    `.nnx`; one that is also used as a whole (as the output layer of a tied model) has a dense gradient.

    The function is traced twice: first to see which rows it looks up.

    Args:
        fun: a function of the parameters and anything else, that returns a scalar.
        tables: a pattern on paths of the parameters, or several.
        has_aux: whether `fun` returns a pair of the scalar and something else.

    Returns:
        A function with the arguments of `fun` that returns `(value, gradients)`; for each table that is looked up, the
        gradient is a `RowGradient` with one row for each look-up, in the dtype of the table.

    Raises:
        ValueError: a pattern that matches no parameter; a table looked up within a `jit`, `scan`, `vmap` or `remat` of
            the function's own.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> loss = lambda params, ids: jnp.sum(oc.look_up(params["embedding"], ids) ** 2)
    >>> value, grads = oc.row_value_and_grad(loss)({"embedding": jnp.ones((1000, 2))}, jnp.array([7, 7, 3]))
    >>> grads["embedding"].indices.tolist(), grads["embedding"].shape
    ([7, 7, 3], (1000, 2))
    """

    @functools.wraps(fun)
    def value_and_grad(params: Any, *args: Any, **kwargs: Any) -> Any:
        (leaves, treedef), names = jax.tree.flatten(params), names_of(params)
        inside = select(tables, params)

        def call(arrays: list[Any], taps: dict[int, list[jax.Array]] | None) -> tuple[Any, dict[int, Record]]:
            """What the function returns, and the record of each table that may be looked up."""
            records = {
                i: Record(names[i], None if taps is None else taps[i])
                for i, here in enumerate(inside)
                if here and (taps is None or i in taps)
            }
            seen = [Table(x, records[i]) if i in records else x for i, x in enumerate(arrays)]
            return fun(treedef.unflatten(seen), *args, **kwargs), records

        first: dict[int, Record] = {}

        def look(arrays: list[Any]) -> dict[int, list[jax.Array]]:
            first.update(call(arrays, None)[1])
            return {i: record.ids for i, record in first.items()}

        ids = jax.eval_shape(look, leaves)
        rows = {i: lookups for i, lookups in ids.items() if lookups and not first[i].used_whole}
        taps = {
            i: [jnp.zeros((*x.shape, *leaves[i].shape[1:]), leaves[i].dtype) for x in lookups]
            for i, lookups in rows.items()
        }
        dense = {i: x for i, x in enumerate(leaves) if i not in taps}

        def tapped(parts: tuple[dict[int, Any], dict[int, list[jax.Array]]]) -> Any:
            arrays = [parts[0].get(i, x) for i, x in enumerate(leaves)]
            result, records = call(arrays, parts[1])
            value, aux = result if has_aux else (result, None)
            return value, (aux, {i: record.ids for i, record in records.items()})

        (value, (aux, looked)), (grads, cotangents) = jax.value_and_grad(tapped, has_aux=True)((dense, taps))
        for i, ids in looked.items():
            n, *row = leaves[i].shape
            pairs = list(zip(ids, cotangents[i], strict=True))
            indices = jnp.concatenate([whole_rows(x, x.ndim).ravel() for x, _ in pairs]).astype(jnp.int32)
            values = jnp.concatenate([whole_rows(v, x.ndim).reshape(-1, *row) for x, v in pairs])
            grads[i] = RowGradient(indices, values, n)
        gradients = treedef.unflatten([grads[i] for i in range(len(leaves))])
        return ((value, aux) if has_aux else value), gradients

    return value_and_grad
