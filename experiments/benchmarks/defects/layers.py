"""Scanned models: stacked layers beside the same layers unrolled."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks.defects.defect import Pair, defect
from experiments.benchmarks.defects.precision import steps


def _difference(tx: Any, declared: Any) -> float:
    """Of the step on stacked layers from the step on each alone, over the largest entry."""
    keys = jax.random.split(jax.random.key(0), 2)
    scales = 10.0 ** jnp.arange(4.0)[:, None, None]
    params, grads = (jax.random.normal(key, (4, 8, 8)) * scales for key in keys)
    alone = jnp.stack([steps(tx, params[i], [grads[i]])[0] - params[i] for i in range(4)])
    stacked = steps(declared, {"layers": params}, [{"layers": grads}])[0]["layers"] - params
    return float(jnp.max(jnp.abs(stacked - alone)) / jnp.max(jnp.abs(alone)))


def _pair(theirs: Any, ours: Any) -> Pair:
    declared = oc.over_layers(ours, "layers")
    return Pair(lambda: _difference(theirs, theirs), lambda: _difference(ours, declared), lambda x: x < 1e-5)


@defect("LAMB on 4 stacked layers beside the same unrolled: relative difference of the step", "below 1e-5")
def stacked_layers_lamb() -> Pair:
    return _pair(optax.lamb(0.1), oc.lamb(0.1))


@defect("LARS on 4 stacked layers beside the same unrolled: relative difference of the step", "below 1e-5")
def stacked_layers_lars() -> Pair:
    return _pair(optax.lars(0.1), oc.lars(0.1))


@defect("Adafactor on 4 stacked layers beside the same unrolled: relative difference of the step", "below 1e-5")
def stacked_layers_adafactor() -> Pair:
    # Factored from 8 rows on, as the larger kernels of a real model are.
    return _pair(optax.adafactor(0.1, min_dim_size_to_factor=8), oc.adafactor(0.1, min_dim_size_to_factor=8))
