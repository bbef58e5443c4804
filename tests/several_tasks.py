"""Gradients of several tasks (or clients) over a small tree, and the updates that a link makes of them, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
from whole_tree import vector

SHAPES = {"kernel": (4, 3), "bias": (3,), "deep": {"scale": (), "embedding": (5, 2)}}


def params(dtype="float32"):
    """Parameters."""
    return jax.tree.map(lambda shape: jnp.ones(shape, dtype), SHAPES, is_leaf=lambda x: isinstance(x, tuple))


def gradients(seed, tasks, dtype="float32"):
    """Gradients of so many tasks, of different norms, of which some pairs conflict."""
    draw = np.random.default_rng(seed)
    scales = 10.0 ** draw.uniform(-1, 1, tasks)

    def of_leaf(p):
        x = draw.normal(size=(tasks, *p.shape)) + 0.5 * draw.normal(size=p.shape)
        return jnp.asarray(x * scales.reshape(-1, *(1,) * p.ndim), dtype)

    return jax.tree.map(of_leaf, params())


def updates(tx, grads, losses=None, weights=None):
    """The updates for gradients (losses, weights) of some steps, a vector for each, and the last state, in float64."""
    with jax.enable_x64(True):
        wide = [jax.tree.map(lambda x: jnp.asarray(np.asarray(x), "float64"), g) for g in grads]
        state, step, made = tx.init(params("float64")), jax.jit(tx.update), []
        for i, g in enumerate(wide):
            extras = {"losses": losses, "client_weights": weights}
            told = {name: jnp.asarray(x[i], "float64") for name, x in extras.items() if x is not None}
            u, state = step(g, state, params("float64"), **told)
            made.append(vector(u))
    return np.stack(made), state


def as_vectors(grads):
    """The gradient of each task as a float64 vector."""
    return vector(grads, 1)
