"""Layers: a scanned model is trained as the same model unrolled."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.inspect.laws.check import Skipped, law
from optchain.inspect.laws.steps import gradients, require_close, take_step
from optchain.masking.over_layers import over_layers


@law
def stacked_layers(tx: Any, params: Any) -> None:
    """Layers stacked in one array, and declared as such, are updated as layers of their own."""
    other = jax.tree.map(lambda p, g: p + g, params, gradients(params, 7))
    unrolled = {"layers_0": params, "layers_1": other}
    declared = over_layers(tx, {"layers/*": 1}) if isinstance(tx, optax.GradientTransformation) else tx
    try:
        start = (unrolled, tx.init(unrolled)), (_stacked(unrolled), declared.init(_stacked(unrolled)))
    except ValueError as error:
        raise Skipped(f"it does not take other parameters: {str(error).splitlines()[0]}") from None
    carry, stacked = start
    for seed in range(2):
        grads = gradients(unrolled, seed)
        carry, stacked = take_step(tx, carry, grads), take_step(declared, stacked, _stacked(grads))
    require_close("the parameters", stacked[0], _stacked(carry[0]), rtol=1e-4, atol=1e-5)


def _stacked(tree: Any) -> Any:
    return {"layers": jax.tree.map(lambda *xs: jnp.stack(xs), tree["layers_0"], tree["layers_1"])}
