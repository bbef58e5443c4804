"""What a step does to arrays that are drawn, in a few numbers for each parameter."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.door import is_floating
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves
from optchain.core.trees import dot, max_abs

TYPICAL = 0.05  # root mean square of a parameter of which only the shape is known, or that is 0
SMALL = 1e-4  # standard deviation of gradients: below what clips act on, above the eps of moments
LARGE = 64 * SMALL
EXACT = 1e-5  # of the largest entry


class Moved(NamedTuple):
    """What a step made of one parameter: sums over its entries."""

    size: int
    uu: float  # <u, u> of the update
    gg: float  # <g, g> of the gradient
    pp: float  # <p, p> of the parameter
    ug: float
    up: float
    off_g: float  # the largest entry of u - c g, for the best c, as a part of the largest of u
    off_p: float  # the same with the parameter
    top: float  # the largest entry of u

    @property
    def rms(self) -> float:
        """The root mean square of the update."""
        return math.sqrt(self.uu / self.size)

    @property
    def share(self) -> float:
        """The norm of the update as a part of the parameter's."""
        return math.sqrt(self.uu / self.pp) if self.pp else math.nan

    @property
    def factor(self) -> float | None:
        """The number that the update is so many times of the gradient; None if there is none."""
        if self.top == 0:
            return 0.0
        return self.ug / self.gg if self.gg and self.off_g <= EXACT else None

    @property
    def growth(self) -> float | None:
        """The number that the update is so many times of the parameter; None if there is none."""
        if self.top == 0:
            return 0.0
        return self.up / self.pp if self.pp and self.size > 1 and self.off_p <= EXACT else None


def drawn(params: Any, seed: int, spread: float | None = None) -> Any:
    """Random arrays like the parameters.

    Args:
        params: arrays, or shapes.
        seed: of what is drawn.
        spread: the standard deviation, a negative one mirrors; left out, the root mean square of each parameter, or
            `TYPICAL` where that is not known.
    """
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)
    sizes = [spread or _rms(x) or TYPICAL for x in leaves]
    arrays = [rng.standard_normal(x.shape, np.float32) * size for x, size in zip(leaves, sizes, strict=True)]
    return treedef.unflatten([jnp.asarray(a).astype(x.dtype) for a, x in zip(arrays, leaves, strict=True)])


def _rms(x: Any) -> float:
    if isinstance(x, jax.ShapeDtypeStruct) or not x.size:
        return 0.0
    size = float(jnp.sqrt(jnp.mean(jnp.square(jnp.asarray(x).astype(jnp.float32)))))
    return size if math.isfinite(size) else 0.0


def gradients(params: Any, spread: float) -> Any:
    """Random gradients, 0 where `spread` is."""
    return drawn(params, 1, spread) if spread else jax.tree.map(jnp.zeros_like, params)


def extras(grads: Any) -> dict[str, Any]:
    """The extra arguments that links may read: those of a loss that has nearly these gradients everywhere.

    What only some steps have is None, and so is what the caller alone knows: the losses of tasks, weights of clients.
    """
    bend = max_abs(grads)  # no more than a slope of the size of the gradients; none where there are none
    return {
        "value": jnp.ones(()),
        "value_fn": lambda p: 1.0 + dot(grads, p) + bend * dot(p, p) / 2,
        "grad_fn": lambda p: jax.tree.map(lambda g, x: g + bend.astype(g.dtype) * x, grads, p),
        "grad": grads,
        "hessian": jax.tree.map(jnp.ones_like, grads),
        "losses": None,
        "client_weights": None,
        "max_logits": None,
        "stale_params": None,
        "staleness": None,
    }


def moved(updates: Any, grads: Any, params: Any) -> dict[str, Moved]:
    """What a step made of each parameter that takes part; what is not finite is left out."""
    gs, ps = (dict(named_leaves(tree, _is_none)) for tree in (grads, params))
    us = {path: u for path, u in named_leaves(updates, _is_none) if is_floating(u) and is_floating(gs.get(path))}
    found = {path: _moved(*map(_flat, (u, gs[path], ps[path]))) for path, u in us.items() if u.size}
    return {path: x for path, x in found.items() if all(map(math.isfinite, x))}


def _is_none(x: Any) -> bool:
    return x is None or is_hole(x)


def _flat(x: Any) -> np.ndarray:
    return np.asarray(x, np.float64).ravel()


def _moved(u: np.ndarray, g: np.ndarray, p: np.ndarray) -> Moved:
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite is left out
        uu, gg, pp, ug, up = (float(np.vdot(a, b)) for a, b in ((u, u), (g, g), (p, p), (u, g), (u, p)))
        top = float(np.abs(u).max())
        off_g, off_p = (_off(u, x, c, square, top) for x, c, square in ((g, ug, gg), (p, up, pp)))
        return Moved(u.size, uu, gg, pp, ug, up, off_g, off_p, top)


def _off(u: np.ndarray, x: np.ndarray, product: float, square: float, top: float) -> float:
    """How far an update is from the nearest multiple of another array."""
    return float(np.abs(u - (product / square if square else 0.0) * x).max()) / top if top else 0.0


def attempt(function: Callable[[], Any]) -> Any:
    """What a trial gives; None where it raises, because the step needs what only its caller has, such as a mesh."""
    try:
        return function()
    except Exception:  # noqa: BLE001, of any transformation, and a trial that fails says nothing
        return None
