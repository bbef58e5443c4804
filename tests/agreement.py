"""Running a transformation over given gradients, and comparing what comes out with a twin."""

import functools
from typing import Any, NamedTuple

import chex
import jax
import numpy as np
from recorded_gradients import joined, parted
from techniques import own

from optchain.core.transform import ours

# Over the recorded gradients, with constant hyperparameters, in float32; a twin that multiplies by 0.999 in float32
# at each step, as optax does, is itself 2e-6 off.
SLOTS, PARAMS = 4e-6, 2e-5
# LLVM's optimizations take longer than the runs that they would shorten; XLA's own passes remain.
QUICKLY = {"xla_backend_optimization_level": 0}


class Run(NamedTuple):
    params: Any  # after the last update
    state: Any  # after the last update
    updates: Any  # all of them, on a leading axis


def run(tx, recorded, rate=1.0, promotion="strict") -> Run:
    """Apply a transformation to gradients that are fixed beforehand; the parameters move by `rate` times the update.

    It receives neither a loss nor a curvature.
    """
    with jax.numpy_dtype_promotion(promotion):
        (params, state), updates = compiled(tx, rate)(*joined(recorded))
    return parted(Run(params, own(state), updates), recorded)


@functools.lru_cache(maxsize=8)
def compiled(tx, rate):
    """The run as a compiled function: the tests of one technique ask for the same one again and again."""

    none = dict.fromkeys(("value", "hessian"), None) if ours(tx) else {}

    def step(carry, g):
        params, state = carry
        u, state = tx.update(g, state, params, **none)
        return (jax.tree.map(lambda p, u: p + rate * u, params, u), state), u

    return jax.jit(lambda params, grads: jax.lax.scan(step, (params, tx.init(params)), grads))


def run_twin(tx, recorded, rate=1.0) -> Run:
    """The same for a transformation of optax's, which mixes dtypes."""
    return run(tx, recorded, rate, "standard")


def by_leaf(law, *trees, **options) -> dict[str, Any]:
    """Run a NumPy law, which takes float64 arrays and returns a dict of arrays, on each leaf: a dict of trees."""
    leaves = zip(*map(jax.tree.leaves, trees), strict=True)
    results = [law(*(np.asarray(x, np.float64) for x in xs), **options) for xs in leaves]
    return {name: jax.tree.structure(trees[0]).unflatten([r[name] for r in results]) for name in results[0]}


def moved(params, updates, rate) -> Any:
    """Where the parameters are after all updates, in float64."""
    return jax.tree.map(
        lambda p, u: np.asarray(p, np.float64) + rate * np.asarray(u, np.float64).sum(0), params, updates
    )


def assert_agree(found, twin, tol) -> None:
    """In each leaf the largest difference is at most `tol` times the largest entry of the twin; all is finite."""
    chex.assert_trees_all_equal_structs(found, twin)
    chex.assert_tree_all_finite(found)
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(twin), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        chex.assert_equal_shape((x, y))
        worst, largest = np.max(np.abs(x - y), initial=0), np.max(np.abs(y), initial=0)
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        assert worst <= tol * largest, f"{name} differs by {worst:.3g}, more than {tol:g} of {largest:.3g}"


def run_float64(tx, recorded, rate=1.0, promotion="strict") -> Run:
    """The same run in double precision, as NumPy arrays."""
    with jax.enable_x64(True):
        wide = jax.tree.map(lambda x: x.astype("float64"), recorded)
        return jax.tree.map(np.asarray, run(tx, wide, rate, promotion))
