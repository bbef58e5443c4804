"""Which weights are trained, over time."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc
from experiments.gallery.picture import Picture, grid, png

WEIGHTS, STEPS = 64, 240
WAYS = {
    "one_shot(40)": oc.one_shot(40),
    "gradual(20, 160, 10): GMP": oc.gradual(20, 160, 10),
    "regrow(10): RigL": oc.regrow(10, end=200),
    'regrow(10, grow="random"): SET': oc.regrow(10, grow="random", end=200),
}


def pictures() -> Iterator[Picture]:
    """One picture of all ways."""
    figure, axes = grid(len(WAYS), 2, 4.2, 2.2)
    for one, (title, schedule) in zip(axes, WAYS.items(), strict=True):
        one.imshow(nonzero(schedule), aspect="auto", cmap="Blues", interpolation="nearest")
        one.set_title(title, fontsize=8, loc="left")
        one.set(ylabel="weight, by its optimum", xlabel="step")
        one.grid(False)
    text = (
        f"{WEIGHTS} weights of a noisy least-squares problem, sorted by their optimum, the smallest at the top; blue "
        "where a weight is not 0. All methods end with a quarter of the weights. Pruning by size keeps those at both "
        "ends; RigL, which begins with a random mask, finds most of these by the gradient, and SET by chance."
    )
    yield Picture("gallery-masks", "Masks over time", text, png(figure), "png")


def nonzero(schedule: Any) -> np.ndarray:
    """Whether each weight, in a row, is not 0 after each step, in a column."""
    tx = oc.sparse(oc.adam(0.05), 0.75, schedule=schedule, mask="*")
    best = jnp.linspace(-1, 1, WEIGHTS).reshape(8, 8)
    params = {"kernel": 0.1 * jax.random.normal(jax.random.key(0), (8, 8))}

    def step(carry, key):
        params, state = carry
        grads = {"kernel": params["kernel"] - best + 0.3 * jax.random.normal(key, (8, 8))}
        params, state = oc.apply(tx, grads, state, params)
        return (params, state), (oc.masked_params(state, params)["kernel"] != 0).ravel()

    keys = jax.random.split(jax.random.key(1), STEPS)
    _, after = jax.lax.scan(step, (params, tx.init(params)), keys)
    return np.asarray(after).T
