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
from optchain.core.trees import dot

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
    """Random arrays like the parameters, of their sizes where these are known; what does not move stays as it is.

    Args:
        params: arrays, or shapes.
        seed: of what is drawn.
        spread: the standard deviation; left out, the root mean square of each parameter, or `TYPICAL`.
    """
    leaves, treedef = jax.tree.flatten(params)
    rng = np.random.default_rng(seed)

    def draw(x: Any) -> Any:
        if not is_floating(x):
            return _standing(x)
        std = spread or _rms(x) or TYPICAL
        return jnp.asarray(rng.standard_normal(x.shape, np.float32) * std).astype(x.dtype)

    return treedef.unflatten([draw(x) for x in leaves])


def _standing(x: Any) -> Any:
    """A leaf that does not move."""
    if not isinstance(x, jax.ShapeDtypeStruct):
        return x
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return jnp.broadcast_to(jax.random.key(0), x.shape)
    return jnp.zeros(x.shape, x.dtype)


def _rms(x: Any) -> float:
    if isinstance(x, jax.ShapeDtypeStruct) or not x.size:
        return 0.0
    size = float(jnp.sqrt(jnp.mean(jnp.square(jnp.asarray(x).astype(jnp.float32)))))
    return size if math.isfinite(size) else 0.0


def gradients(params: Any, spread: float) -> Any:
    """Random gradients, 0 where `spread` is, None for what has none."""
    moving = jax.tree.map(lambda x: x if is_floating(x) else None, params)
    return jax.tree.map(jnp.zeros_like, moving) if not spread else drawn(moving, 1, spread)


def extras(params: Any) -> dict[str, Any]:
    """The extra arguments that links may read: those of a loss whose gradient is nearly the same everywhere.

    What only some steps have is None, and so is what the caller alone knows: the losses of tasks, weights of clients.
    """
    floating = lambda tree: jax.tree.map(lambda x: x if is_floating(x) else None, tree)  # noqa: E731
    slope = gradients(params, SMALL)
    flat = lambda p: 1.0 + dot(slope, floating(p)) + SMALL * dot(floating(p), floating(p)) / 2  # noqa: E731
    return {
        "value": jnp.ones(()),
        "value_fn": flat,
        "grad_fn": lambda p: jax.tree.map(lambda g, x: g + SMALL * x, slope, floating(p)),
        "hessian": jax.tree.map(jnp.ones_like, slope),
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
        off = (np.abs(u - (ab / bb if bb else 0) * x).max() for ab, bb, x in ((ug, gg, g), (up, pp, p)))
        return Moved(u.size, uu, gg, pp, ug, up, *(float(x) / top if top else 0.0 for x in off), top)


def attempt(function: Callable[[], Any]) -> Any:
    """What a trial gives; None where it raises, because the step needs what only its caller has, such as a mesh."""
    try:
        return function()
    except Exception:  # noqa: BLE001, of any transformation, and a trial that fails says nothing
        return None
