"""Transformations of optax under `over_axes`: elementwise ones are right on shards, others are refused."""

from collections.abc import Iterator
from typing import Any

import jax

from optchain.core.spread import spread, varying, varying_of

# Primitives that look across entries, besides those that begin with `reduce_`.
ACROSS = {"dot_general", "conv_general_dilated", "sort", "top_k", "argmax", "argmin", "cholesky", "eigh", "qr", "svd"}
ACROSS |= {"cumsum", "cumprod", "cummax", "cummin", "cumlogsumexp", "triangular_solve", "gather", "scatter", "rev"}
DRAWS = {"random_bits", "threefry2x32", "random_gamma"}


def require_elementwise(function: Any, *trees: Any) -> None:
    """The update of a transformation of optax looks across no entries of a shard, or an error names what it does."""
    here = spread()
    if here is None or not any(set(here.axes) & varying(x) for x in jax.tree.leaves(trees) if isinstance(x, jax.Array)):
        return
    for equation in _equations(jax.make_jaxpr(function)(*trees).jaxpr):
        name = equation.primitive.name
        split = any(set(here.axes) & varying_of(x.aval) for x in equation.invars)
        if name in DRAWS or (split and (name in ACROSS or name.startswith("reduce_") and name != "reduce_precision")):
            problem = f"a transformation of optax computes `{name}` of the shards that devices have"
            raise ValueError(f"over_axes: {problem}; take optchain's of that name, or step outside of shard_map")


def _equations(jaxpr: Any) -> Iterator[Any]:
    """All equations, those of functions that are called too."""
    for equation in jaxpr.eqns:
        inner = [x for value in equation.params.values() for x in (value if isinstance(value, tuple) else (value,))]
        inner = [getattr(x, "jaxpr", x) for x in inner]
        inner = [x for x in inner if hasattr(x, "eqns")]
        for other in inner:
            yield from _equations(other)
        if not inner:
            yield equation
