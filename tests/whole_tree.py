"""Laws that look across leaves: all leaves as one vector, for a paper's algorithm in NumPy."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import Run
from recorded_gradients import joined, parted
from techniques import own

from optchain.core.transform import ours

# A rate that grows as long as gradients point along the way would grow for ever on gradients fixed beforehand: here a
# spring that pulls back to the start is added to the recorded ones, as if the loss had a bowl around it.
SPRING = 1.0


def vector(tree: Any, axes: int = 0) -> np.ndarray:
    """All leaves in one float64 vector, behind leading axes that they share."""
    leaves = [np.asarray(x, np.float64) for x in jax.tree.leaves(tree)]
    return np.concatenate([x.reshape(*x.shape[:axes], -1) for x in leaves], axis=-1)


def tree_of(x: np.ndarray, like: Any) -> Any:
    """The tree of a vector, behind its leading axes."""
    leaves, treedef = jax.tree.flatten(like)
    parts = np.split(x, np.cumsum([leaf.size for leaf in leaves])[:-1], axis=-1)
    return treedef.unflatten([part.reshape(*x.shape[:-1], *p.shape) for part, p in zip(parts, leaves, strict=True)])


def on_vector(law, recorded, *others, **options) -> dict[str, Any]:
    """What a NumPy law of gradients and first parameters gives: vectors as trees, scalars as they are.

    The law gets the gradients as functions of the parameters.
    """
    start = vector(recorded.params)
    gs = [lambda x, g=g: g + SPRING * (x - start) for g in vector(recorded.grads, 1)]
    found = law(gs, start, *others, **options)
    return {name: tree_of(x, recorded.params) if np.ndim(x) else x for name, x in found.items()}


def losses(steps: int) -> np.ndarray:
    """Losses that fall and jitter, to go with recorded gradients."""
    t = np.arange(steps)
    return (2.3 * np.exp(-t / 60) + 0.2 * np.sin(7 * t) ** 2).astype(np.float32)


def run(tx, recorded, rate=1.0, values=None, promotion="strict") -> Run:
    """Apply a transformation to recorded gradients and the spring, and to losses where there are some."""
    told = {} if values is None else {"value": jnp.asarray(values, jnp.float32)}
    if values is None and ours(tx):
        told = {"value": None}
    with jax.numpy_dtype_promotion(promotion):
        start, grads = joined(recorded)
        (params, state), updates = compiled(tx, rate)(start, (grads, told))
    return parted(Run(params, own(state), updates), recorded)


@functools.lru_cache(maxsize=8)
def compiled(tx, rate):
    """The run as a compiled function: the tests of one technique ask for the same one again and again."""

    def scanned(start, given):
        def step(carry, given):
            params, state = carry
            g, told = given
            g = jax.tree.map(lambda g, p, p0: g + SPRING * (p - p0), g, params, start)
            told = jax.tree.map(lambda x: x.astype(jax.tree.leaves(params)[0].dtype), told)
            u, state = tx.update(g, state, params, **told)
            return (jax.tree.map(lambda p, u: p + rate * u, params, u), state), u

        return jax.lax.scan(step, (start, tx.init(start)), given)

    return jax.jit(scanned)


def run_float64(tx, recorded, rate=1.0, values=None, promotion="strict") -> Run:
    """The same run in double precision, as NumPy arrays."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype("float64"), recorded)
        return jax.tree.map(np.asarray, run(tx, wide, rate, values, promotion))


def run_torch(make, recorded) -> tuple[Any, Any]:
    """The parameters and the slots of a torch optimizer after recorded gradients and the spring, in float64."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    leaves, treedef = jax.tree.flatten(recorded.params)
    start = [torch.tensor(np.asarray(p), dtype=torch.float64) for p in leaves]
    params = [p.clone().requires_grad_() for p in start]
    grads = [torch.tensor(np.asarray(g), dtype=torch.float64) for g in jax.tree.leaves(recorded.grads)]
    optimizer = make(params)
    for i in range(len(grads[0])):
        for p, p0, g in zip(params, start, grads, strict=True):
            p.grad = g[i] + SPRING * (p.detach() - p0)
        optimizer.step()
    states = [optimizer.state[p] for p in params]
    slots = {name: treedef.unflatten([state[name].numpy() for state in states]) for name in ("s",) if states[0]}
    return treedef.unflatten([p.detach().numpy() for p in params]), slots
