"""Learning rates that are most likely a mistake, which no schedule is refused for."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optchain.core.numbers import at
from optchain.core.walk import definitions, dotted
from optchain.lab.runs.config import Config
from optchain.lab.settings.load import flat
from optchain.lab.training.rows import foreign_rates

POINTS = 1000  # at most so many steps of a schedule are looked at


def doubts(config: Config, tx: optax.GradientTransformation) -> list[str]:
    """A line for each learning rate that is negative at a step of the run, or 0 at all of them.

    A schedule may begin or end at 0. Negative rates are what an update wants whose sign is not flipped.

    Args:
        config: of the run, whose epochs are steps.
        tx: its optimizer.
    """
    wanted = any(key.endswith("flip_sign") and x is False for key, x in flat(config.optimizer).items())
    steps = np.unique(np.linspace(0, (config.train.steps or 1) - 1, POINTS).astype(int))
    lines = []
    for name, rate in _rates(config, tx).items():
        values = np.asarray(jax.vmap(rate)(steps))
        if (values < 0).any() and not wanted:
            first = int(np.argmax(values < 0))
            lines.append(
                f"optimizer.{name} is {values[first]:.4g} at step {steps[first] + 1}; such a step raises the loss"
            )
        if (values == 0).all():
            lines.append(f"optimizer.{name} is 0 at every step; nothing is learned by it")
    return lines


def _rates(config: Config, tx: optax.GradientTransformation) -> dict[str, Callable[[Any], jax.Array]]:
    """The learning rates by dotted name, as functions of the step."""
    found = {dotted(prefix, "learning_rate"): link.numbers.get("learning_rate") for prefix, link in definitions(tx)}
    numbers = {name: number for name, number in found.items() if number is not None} | foreign_rates(config.optimizer)
    return {name: lambda t, x=number: jnp.asarray(at(x, t), jnp.float32) for name, number in numbers.items()}
