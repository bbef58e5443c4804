"""The parameters and gradients of every recorded run, and the extra arguments that go with them.

The gradients are stored, not computed again: the text that `recorded_gradients` learns comes with Python and changes
from version to version.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.paths import named_leaves

HERE = Path(__file__).parent
STEPS = 24  # a multiple of 2 and 3, so that the last step is one that accumulates the micro-batches of a few
# Which leaves a technique is run on: the first of these that it takes, those of `SQUARE` on the last.
LEAVES = {
    "all": lambda path, shape: True,
    "no convolution": lambda path, shape: len(shape) <= 2,
    "square": lambda path, shape: len(shape) <= 1 or shape[0] == shape[-1] == 8,
}
# The extra arguments that an export reads; the others get none, for a later version may refuse what nobody reads.
EXTRAS = dict.fromkeys(["scale_by_sophia", "sophia", "scale_by_adahessian", "adahessian"], ("hessian",))
EXTRAS |= dict.fromkeys(["clip_qk", "muon_clip"], ("max_logits",))
EXTRAS |= dict.fromkeys(["scale_by_momo", "momo", "scale_by_momo_adam", "momo_adam"], ("value",))
EXTRAS |= dict.fromkeys(["scale_by_polyak", "polyak_sgd", "scale_on_plateau", "guard"], ("value",))
EXTRAS |= dict.fromkeys(["asam", "gsam", "looksam", "sam"], ("grad_fn",))
EXAMPLES = ("differentially_private_aggregate", "dpsgd")  # take the gradients of single examples
BATCH = 4  # examples, for these
# In directions that the first gradient lacks, the basis of these is rounding: a matrix that is not square lacks some.
SQUARE = ("scale_by_soap", "soap", "scale_by_kl_soap", "kl_soap", "dion")
# These amplify rounding, so that only a run in float64 tells one law from another.
FLOAT64 = (*SQUARE, "scale_by_shampoo", "shampoo", "lbfgs")


@functools.cache
def stored() -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The parameters before the first step and the gradients of all steps, by path."""
    with np.load(HERE / "gradients.npz") as arrays:
        found = dict(arrays)
    parts = [
        {key.removeprefix(f"{part}/"): found[key] for key in sorted(found) if key.startswith(f"{part}/")}
        for part in ("params", "grads")
    ]
    return parts[0], parts[1]


def inputs(leaves: str) -> tuple[Any, Any]:
    """The parameters and the gradients, with a leading axis for the steps, of the leaves that are called so."""
    params, grads = stored()
    paths = [path for path, p in params.items() if LEAVES[leaves](path, p.shape)]
    return tuple(nested({path: tree[path] for path in paths}) for tree in (params, grads))


def nested(flat: dict[str, Any]) -> Any:
    """A tree of dicts from leaves by path."""
    tree: dict[str, Any] = {}
    for path, x in flat.items():
        *around, last = path.split("/")
        functools.reduce(lambda node, key: node.setdefault(key, {}), around, tree)[last] = x
    return tree


def by_path(tree: Any) -> dict[str, np.ndarray]:
    """The leaves in float64 by path, in the order of the paths."""
    found = {path: np.asarray(x, np.float64) for path, x in named_leaves(tree)}
    return dict(sorted(found.items()))


def extra_arguments(names: tuple[str, ...], t: Any, grads: Any, params: Any) -> dict[str, Any]:
    """Extra arguments of step t, from 0: those of a quadratic function with this gradient at these parameters."""
    value = 3.0 * 0.9 ** jnp.asarray(t, jnp.float32)

    def grad_fn(others: Any) -> Any:
        return jax.tree.map(lambda g, q, p: g + curvature(p) * (q - p), grads, others, params)

    made = {
        "value": lambda: value,
        "grad_fn": lambda: grad_fn,
        # Neither all nor no entries of Sophia are clipped.
        "hessian": lambda: jax.tree.map(lambda g: 500 * jnp.abs(g), grads),
        "max_logits": lambda: logits(params),
    }
    return {name: made[name]() for name in names}


def curvature(p: Any) -> jax.Array:
    """The second derivatives of the function of which the extra arguments tell: they differ from entry to entry."""
    return jnp.geomspace(0.1, 10.0, p.size, dtype=p.dtype).reshape(p.shape)


def bowl(params: Any) -> jax.Array:
    """A function that is the same at every step, for line searches."""
    return sum(jnp.sum(curvature(p) * p**2) / 2 for p in jax.tree.leaves(params))


def logits(params: Any) -> dict[str, jax.Array]:
    """Logits on both sides of the bound of QK-Clip, one for each index on the last axis of a kernel."""
    leaves = [(path, p.shape) for path, p in named_leaves(params)]
    return {path.rpartition("/")[0]: jnp.linspace(50.0, 200.0, shape[-1]) for path, shape in leaves if shape}


def batched(grads: Any) -> Any:
    """Gradients of single examples: of each step and the ones after it."""
    return jax.tree.map(lambda g: jnp.stack([jnp.roll(g, -k, axis=0) for k in range(BATCH)], axis=1), grads)
