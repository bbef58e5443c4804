"""What matrix techniques make of the singular values of a gradient."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
import optax

import optchain as oc
from experiments.gallery.picture import BLUE, SOFT, Picture, grid, svg

SIDE, STEPS = 48, 20
LINKS = {
    "scale_by_adam": oc.scale_by_adam,
    "scale_by_muon": oc.scale_by_muon,
    "scale_by_normuon": oc.scale_by_normuon,
    "scale_by_shampoo": oc.scale_by_shampoo,
    "scale_by_soap": oc.scale_by_soap,
    "scale_by_kron": oc.scale_by_kron,
}


def pictures() -> Iterator[Picture]:
    """One picture of all of them."""
    figure, axes = grid(len(LINKS), 3, 3.2, 2.1)
    for one, (name, make) in zip(axes, LINKS.items(), strict=True):
        for values, label, color in zip(spectra(make()), ("gradient", "update"), (SOFT, BLUE), strict=True):
            one.semilogy(np.arange(1, SIDE + 1), values / values.max(), label=label, color=color, linewidth=1.6)
        one.set_title(name, fontsize=8, loc="left")
        one.set_ylim(1e-4, 2)
    axes[0].legend(fontsize=7)
    text = (
        f"The singular values, divided by the largest, of the last of {STEPS} gradients of a {SIDE} x {SIDE} matrix "
        "whose own singular values fall like 1 / n², with noise, and of the update that each link makes of it, with "
        "its default hyperparameters. Orthogonalization makes them all nearly equal; Kron's preconditioner has learned "
        "little in so few steps."
    )
    yield Picture("gallery-spectra", "Singular values of updates", text, svg(figure))


def spectra(tx: optax.GradientTransformation) -> tuple[np.ndarray, np.ndarray]:
    """The singular values of the last gradient and of its update."""
    left, right, noise = jax.random.split(jax.random.key(0), 3)
    u, v = (jnp.linalg.qr(jax.random.normal(key, (SIDE, SIDE)))[0] for key in (left, right))
    fixed = u @ jnp.diag(1 / jnp.arange(1.0, SIDE + 1) ** 2) @ v.T
    params = {"kernel": jnp.zeros((SIDE, SIDE))}
    state, step = tx.init(params), jax.jit(tx.update)
    update, g = params, fixed
    for key in jax.random.split(noise, STEPS):
        g = fixed + 1e-3 * jax.random.normal(key, fixed.shape)
        update, state = step({"kernel": g}, state, params)
    return tuple(np.linalg.svd(np.asarray(x), compute_uv=False) for x in (g, update["kernel"]))
