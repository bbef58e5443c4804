"""A weight in bfloat16 that takes small steps, rounded in several ways."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc
from experiments.gallery.picture import BLUE, GREEN, INK, ORANGE, Picture, grid, svg

STEPS, RATE, SHOWN = 400, 5e-4, 24  # weights that are rounded at random, beside each other
WAYS = {"nearest": ORANGE, "stochastic": BLUE, "kahan": GREEN, "master": INK}


def pictures() -> Iterator[Picture]:
    """One picture of all ways."""
    figure, axes = grid(len(WAYS), 4, 2.6, 2.4)
    exact = 1 - RATE * np.arange(1, STEPS + 1)
    for one, (way, color) in zip(axes, WAYS.items(), strict=True):
        one.plot(weights(way), color=color, linewidth=0.8, alpha=0.25 if way == "stochastic" else 1.0)
        one.plot(exact, color=INK, linewidth=1.0, linestyle=":")
        one.set_title(f'params="{way}"', fontsize=8, loc="left")
        one.set_ylim(0.76, 1.02)
    text = (
        f"Weights that begin at 1 and take {STEPS} steps of -{RATE:g}; the dotted line is float32. Between 0.5 and 1 "
        "bfloat16 has steps of 2⁻⁸, eight times as large: with rounding to nearest, the weight never moves. Stochastic "
        f"rounding is right on average ({SHOWN} weights are shown); Kahan's compensation and a master copy in float32 "
        'lose nothing. `oc.precision(oc.sgd(rate), params="...")`.'
    )
    yield Picture("gallery-rounding", "Rounding of bfloat16", text, svg(figure))


def weights(way: str) -> np.ndarray:
    """The weights after each step."""
    tx = oc.precision(oc.sgd(RATE), params=way)
    params = {"w": jnp.ones(SHOWN, jnp.bfloat16)}

    def step(carry, _):
        params, state = oc.apply(tx, {"w": jnp.ones(SHOWN, jnp.bfloat16)}, carry[1], carry[0])
        return (params, state), params["w"]

    _, after = jax.lax.scan(step, (params, tx.init(params)), None, STEPS)
    return np.asarray(after, np.float32)
