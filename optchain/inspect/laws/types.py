"""Types: shapes, dtypes, weak types and layouts are fixed from init."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.inspect.laws.check import Broken, law
from optchain.inspect.laws.steps import cast, every_extra, gradients, types_of

try:
    from jax import enable_x64
except ImportError:  # JAX before 0.8
    from jax.experimental import enable_x64  # pyright: ignore


def _same_avals(what: str, result: Any, expected: Any) -> None:
    if jax.tree.structure(result) != jax.tree.structure(expected):
        raise Broken(f"{what} changes its structure")
    pairs = zip(jax.tree.leaves_with_path(result), jax.tree.leaves(expected), strict=True)
    for (path, x), y in pairs:
        if types_of(x) != types_of(y):
            raise Broken(f"{what}{jax.tree_util.keystr(path)} is {types_of(x)}, expected {types_of(y)}")


def _fixed_avals(tx: Any, params: Any, grads: Any) -> None:
    def update(grads: Any, state: Any, params: Any) -> Any:
        return tx.update(grads, state, params, **every_extra())

    state, updates = jax.eval_shape(tx.init, params), params
    for _ in range(2):
        updates, after = jax.eval_shape(update, grads, state, params)
        _same_avals("the state", after, state)
        state = after
    for (path, u), p in zip(jax.tree.leaves_with_path(updates), jax.tree.leaves(params), strict=True):
        if u.shape != p.shape:
            raise Broken(f"the update{jax.tree_util.keystr(path)} has shape {u.shape}, expected {p.shape}")


@law
def avals_float32(tx: Any, params: Any) -> None:
    """Shapes, dtypes and weak types of the state are fixed from init, for float32."""
    _fixed_avals(tx, params, gradients(params))


@law
def avals_bfloat16(tx: Any, params: Any) -> None:
    """Shapes, dtypes and weak types of the state are fixed from init, for bfloat16."""
    _fixed_avals(tx, cast(params, jnp.bfloat16), cast(gradients(params), jnp.bfloat16))


@law
def avals_float16(tx: Any, params: Any) -> None:
    """Shapes, dtypes and weak types of the state are fixed from init, for float16."""
    _fixed_avals(tx, cast(params, jnp.float16), cast(gradients(params), jnp.float16))


@law
def avals_mixed(tx: Any, params: Any) -> None:
    """Bfloat16 parameters may have float32 gradients."""
    _fixed_avals(tx, cast(params, jnp.bfloat16), gradients(params))


@law
def avals_float64(tx: Any, params: Any) -> None:
    """Shapes, dtypes and weak types of the state are fixed from init, for float64."""
    with enable_x64(True):
        _fixed_avals(tx, cast(params, jnp.float64), cast(gradients(params), jnp.float64))


@law
def abstract_init(tx: Any, params: Any) -> None:
    """`init` may be evaluated abstractly."""
    abstract, state = jax.eval_shape(tx.init, params), tx.init(params)
    for x, y in zip(jax.tree.leaves(abstract), jax.tree.leaves(state), strict=True):
        if (x.shape, x.dtype) != (jnp.shape(y), jnp.asarray(y).dtype):
            raise Broken(f"abstractly {x.shape} {x.dtype}, in fact {jnp.shape(y)} {jnp.asarray(y).dtype}")
