"""Many steps of a sparse transformation in one scan, counting what is not exactly zero."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from agreement import QUICKLY

import optchain as oc
from optchain.core.states import kept
from optchain.inspect.laws.steps import every_extra

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float16": jnp.float16}


class Found(NamedTuple):
    params: Any
    state: Any
    wrong: Any  # at each step, entries outside the masks that are not 0
    kept: Any  # at each step, entries within


def three_dtypes(seed: int = 0) -> Any:
    """A square kernel and a bias in each dtype; by a square one slots of rows by rows are not told by their shape."""
    key = jax.random.key(seed)
    return {
        name: {
            "kernel": jax.random.normal(jax.random.fold_in(key, i), (6, 6)).astype(dtype),
            "bias": jnp.ones(3, dtype),
        }
        for i, (name, dtype) in enumerate(DTYPES.items())
    }


def many_steps(tx: Any, params: Any, steps: int, update: bool = False) -> Found:
    """Steps by `oc.apply`, or by `update` and `optax.apply_updates`; gradients pull the parameters around."""

    def step(carry: Any, t: jax.Array) -> Any:
        params, state = carry
        grads = jax.tree.map(lambda p: (0.1 * p.astype(t.dtype) + jnp.sin(0.1 * t + p.size)).astype(p.dtype), params)
        if update:
            updates, state = tx.update(grads, state, params, **every_extra())
            params = optax.apply_updates(params, updates)
        else:
            params, state = oc.apply(tx, grads, state, params, **every_extra())
        masks = jax.tree.leaves(sparse_state(state)["masks"])
        kernels = [own["kernel"] for own in params.values()]
        wrong = sum(jnp.sum(~mask & (p != 0)) for mask, p in zip(masks, kernels, strict=True))
        return (params, state), (wrong, sum(jnp.sum(mask) for mask in masks))

    times = jnp.arange(steps, dtype=jnp.float32)
    run = jax.jit(lambda carry: jax.lax.scan(step, carry, times), compiler_options=QUICKLY)
    (params, state), (wrong, kept) = run((params, tx.init(params)))
    return Found(params, state, wrong, kept)


def sparse_state(state: Any) -> Any:
    """What the one `sparse` in a state keeps."""
    (found,) = kept(state, "sparse")
    return found


def top(scores: Any, k: int) -> np.ndarray:
    """Where the k largest scores of an array stand, of equal ones the first."""
    scores = np.asarray(scores, np.float64)
    order = sorted(range(scores.size), key=lambda i: (-scores.flat[i], i))
    kept = np.zeros(scores.size, bool)
    kept[order[:k]] = True
    return kept.reshape(scores.shape)


def trained(tx: Any, params: Any, grads: Any) -> Any:
    """The parameters and the masks after each of some steps, on gradients with a leading axis of steps."""

    def step(carry: Any, g: Any) -> Any:
        params, state = oc.apply(tx, g, carry[1], carry[0])
        own = sparse_state(state)
        return (params, state), (params, own["masks"], own["changed"])

    run = jax.jit(lambda params: jax.lax.scan(step, (params, tx.init(params)), grads), compiler_options=QUICKLY)
    return jax.tree.map(np.asarray, run(params))
