"""NumPyro: stochastic variational inference takes the transformation as it is, and hands it `value`."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from twin_curves import each_twin, require_same_curves

numpyro: Any = pytest.importorskip("numpyro", reason="numpyro is in the extra `peers`")
pytestmark = pytest.mark.peers

X = jax.random.normal(jax.random.key(0), (50, 2))
Y = X @ jnp.array([1.0, -2.0]) + 0.5


def model(x: jax.Array, y: jax.Array) -> None:
    dist = numpyro.distributions
    weights = numpyro.sample("weights", dist.Normal(0, 2).expand([2]).to_event(1))
    bias = numpyro.sample("bias", dist.Normal(0, 2))
    noise = numpyro.sample("noise", dist.HalfNormal(1))
    with numpyro.plate("data", len(x)):
        numpyro.sample("y", dist.Normal(x @ weights + bias, noise), obs=y)


@each_twin
def test_the_evidence_rises_as_with_optax(ours, theirs):
    def train(tx: Any) -> jax.Array:
        guide = numpyro.infer.autoguide.AutoNormal(model)
        svi = numpyro.infer.SVI(model, guide, tx, numpyro.infer.Trace_ELBO())
        return svi.run(jax.random.key(2), 30, X, Y, progress_bar=False).losses

    require_same_curves(train, ours, theirs)
