"""Scanned models: stacked layers beside the same layers unrolled."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from experiments.benchmarks.defects.defect import Pair, defect
from experiments.benchmarks.defects.precision import steps


@defect("a trust ratio on 4 stacked layers beside the same unrolled: relative difference of the step", "below 1e-6")
def stacked_layers() -> Pair:
    keys = jax.random.split(jax.random.key(0), 2)
    scales = 10.0 ** jnp.arange(4.0)[:, None, None]
    params, grads = (jax.random.normal(key, (4, 8, 8)) * scales for key in keys)

    def difference(tx: Any, declared: Any) -> float:
        alone = jnp.stack([steps(tx, params[i], [grads[i]])[0] - params[i] for i in range(4)])
        stacked = steps(declared, {"layers": params}, [{"layers": grads}])[0]["layers"] - params
        return float(jnp.max(jnp.abs(stacked - alone)) / jnp.max(jnp.abs(alone)))

    theirs, ours = optax.lamb(0.1), oc.clip_by_leaf_norm(0.1)
    return Pair(
        lambda: difference(theirs, theirs),
        lambda: difference(ours, oc.over_layers(ours, "layers")),
        lambda x: x < 1e-6,
    )
