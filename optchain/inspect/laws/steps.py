"""What the laws share: gradients, steps, and comparisons that say where trees differ."""

import functools
import importlib
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optchain.core.door import is_floating
from optchain.core.transform import forwarding
from optchain.core.trees import dot
from optchain.inspect.laws.check import Broken, Skipped


def gradients(params: Any, seed: int = 1) -> Any:
    """Random gradients in the dtypes of the parameters."""
    leaves, treedef = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(seed), max(len(leaves), 1))
    drawn = [jax.random.normal(key, x.shape).astype(x.dtype) for key, x in zip(keys, leaves, strict=False)]
    return jax.tree.unflatten(treedef, drawn)


def every_extra() -> dict[str, Any]:
    """The extra arguments that links may read: a loss, and as functions half the squared norm and its gradient.

    A tree that only some steps have is None, and so are the losses of tasks and the weights of clients, of which
    the caller alone knows how many there are.
    """
    return {
        "value": jnp.zeros(()),
        "value_fn": lambda params: dot(floating(params), floating(params)) / 2,
        "grad_fn": floating,
        "losses": None,
        "client_weights": None,
        "hessian": None,
        "max_logits": None,
        "stale_params": None,
        "staleness": None,
    }


def floating(tree: Any) -> Any:
    """The tree with None in the place of what is not a floating array, as gradients of a model have it."""
    return jax.tree.map(lambda x: x if is_floating(x) else None, tree)


def take_step(tx: Any, carry: Any, grads: Any, **extra: Any) -> Any:
    """The parameters and the state after one step."""
    params, state = carry
    updates, state = tx.update(grads, state, params, **{**every_extra(), **extra})
    return optax.apply_updates(params, updates), state


@functools.lru_cache(maxsize=1)
def compiled(tx: Any) -> Any:
    """The compiled step of a transformation: one for all laws, for compiling is most of what a check costs."""
    return jax.jit(lambda carry, grads: take_step(tx, carry, grads))


def with_every_extra(tx: Any) -> Any:
    """The transformation with all of these given by itself, for wrappers of optax's that hand no extra arguments on."""

    def update(updates: Any, state: Any, params: Any = None) -> Any:
        return tx.update(updates, state, params, **every_extra())

    return optax.GradientTransformation(tx.init, update)


def types_of(tree: Any) -> Any:
    """Shape, dtype and weak type of each leaf."""
    return jax.tree.map(lambda x: (x.shape, x.dtype, x.weak_type), tree)


def require_close(what: str, result: Any, expected: Any, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    """Two trees are equal within tolerances, NaN where the other is NaN."""
    if jax.tree.structure(result) != jax.tree.structure(expected):
        raise Broken(f"{what}: another structure")
    pairs = zip(jax.tree.leaves_with_path(result), jax.tree.leaves(expected), strict=True)
    for (path, x), y in pairs:
        x, y = _numbers(x), _numbers(y)
        if not np.allclose(x, y, rtol, atol, equal_nan=True):
            raise Broken(f"{what}{jax.tree_util.keystr(path)} differs by {np.nanmax(np.abs(x - y)):.2g}")


def _numbers(x: Any) -> np.ndarray:
    is_key = isinstance(x, jax.Array) and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x, np.float64)


def require_finite(what: str, tree: Any) -> None:
    """No leaf holds a NaN or infinity."""
    for path, x in jax.tree.leaves_with_path(tree):
        if not np.all(np.isfinite(_numbers(x))):
            raise Broken(f"{what}{jax.tree_util.keystr(path)} is not finite")


def flat(tree: Any) -> np.ndarray:
    """All entries of a tree in float64."""
    return np.concatenate([np.zeros(0), *(np.ravel(_numbers(x)) for x in jax.tree.leaves(tree))])


def bytes_of(tree: Any) -> int:
    """The size of all arrays of a tree; a key counts as the numbers that it is made of."""
    arrays = [x for x in jax.tree.leaves(tree) if hasattr(x, "dtype")]
    return sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)


def cast(params: Any, dtype: Any) -> Any:
    """The parameters in another dtype."""
    return jax.tree.map(lambda x: x.astype(dtype), params)


def require_scan(tx: Any, params: Any) -> None:
    """Steps within `lax.scan` are possible, which needs a state of fixed type: tracing tells, nothing is compiled."""
    tx, stacked = forwarding(tx), jax.tree.map(lambda *gs: jnp.stack(gs), gradients(params, 0), gradients(params, 1))
    start = (params, tx.init(params))
    jax.eval_shape(lambda c: jax.lax.scan(lambda c, g: (take_step(tx, c, g), None), c, stacked)[0], start)


def repeated(tx: Any, params: Any, size: float) -> Any:
    """The parameters after three steps on gradients of one size."""
    grads = jax.tree.map(lambda p: jnp.full_like(p, size), params)
    carry = (params, tx.init(params))
    for _ in range(3):
        carry = compiled(tx)(carry, grads)
    return carry[0]


def optional(name: str) -> Any:
    """A module, where it is installed."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise Skipped(f"{name.split('.')[0]} is not installed") from None
