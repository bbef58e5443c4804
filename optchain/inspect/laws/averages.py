"""Averages: a change of a decay changes the future only."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.numbers import means
from optchain.core.runner import Runner
from optchain.core.walk import definitions, dotted
from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import every_extra, flat, gradients

STEPS, BEFORE = 40, 30


@law
def constant_gradients(tx: Any, params: Any) -> None:
    """Under a constant gradient an update that has settled stays what it is when the decays of means change."""
    decays = decays_of_means(tx)
    if not decays:
        raise Skipped("it declares no decay of a mean")
    grads, start = gradients(params), tx.init(params)

    @jax.jit
    def updates_of(powers: jax.Array) -> Any:
        def step(state: Any, power: jax.Array) -> tuple[Any, Any]:
            hyper = {name: b**power for name, b in decays.items()}
            return tx.update(grads, state, params, **every_extra(), hyper=hyper)[::-1]

        return jax.lax.scan(step, start, powers)[1]

    def last(updates: Any, count: int) -> np.ndarray:
        return flat(jax.tree.map(lambda u: u[count - 1], updates))

    as_given = updates_of(jnp.ones(STEPS))
    expected = last(as_given, STEPS)
    near = {"rtol": 1e-5, "atol": 1e-5 * np.max(np.abs(expected), initial=0)}
    for power in (2.0, 0.1):
        update = last(updates_of(jnp.ones(STEPS).at[BEFORE:].set(power)), STEPS)
        if np.allclose(update, expected, **near):
            continue
        if not np.allclose(last(as_given, BEFORE), expected, **near):
            raise Skipped("its update depends on the count, or is a sum")
        difference = np.max(np.abs(update - expected))
        raise Broken(f"decays to the power of {power:g} after step {BEFORE} change the update by {difference:.2g}")


def decays_of_means(tx: Any) -> dict[str, float]:
    """The decays, by dotted name, of which a link keeps what their means have seen."""
    return {
        dotted(prefix, name): link.numbers[name]
        for prefix, link in definitions(tx)
        for name in (means(type(link.rule)) if isinstance(link, Runner) else ())
        if isinstance(link.numbers[name], float)
    }
