"""BlackJAX: mean-field variational inference, and the adaptation of samplers, with a transformation of ours."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from twin_curves import each_twin, require_same_curves

blackjax: Any = pytest.importorskip("blackjax", reason="blackjax is in the extra `peers`")
pytestmark = pytest.mark.peers


def log_density(position: Any) -> jax.Array:
    x, y = position["x"], position["y"]
    return -0.5 * jnp.sum((x - 1.0) ** 2) - 0.5 * (y - x.sum()) ** 2


START = {"x": jnp.zeros(2), "y": jnp.zeros(())}


@each_twin
def test_the_divergence_falls_as_with_optax(ours, theirs):
    def train(tx: Any) -> jax.Array:
        inference = blackjax.meanfield_vi(log_density, tx, num_samples=32)

        def step(state: Any, key: jax.Array) -> Any:
            state, info = inference.step(key, state)
            return state, info.elbo

        return jax.jit(lambda s, keys: jax.lax.scan(step, s, keys)[1])(
            inference.init(START), jax.random.split(jax.random.key(0), 30)
        )

    require_same_curves(train, ours, theirs)


@each_twin
def test_an_adapted_sampler_draws_the_same_chain(ours, theirs):
    def draws(tx: Any) -> Any:
        adaptation = blackjax.chees_adaptation(log_density, num_chains=8)
        starts = jax.tree.map(lambda x: jnp.zeros((8, *x.shape)) + jnp.arange(8.0).reshape(8, *[1] * x.ndim), START)
        (states, found), _ = adaptation.run(jax.random.key(1), starts, 0.1, tx, 30)
        return states.position, found["step_size"]

    with jax.numpy_rank_promotion("allow"):
        a, b = draws(ours), draws(theirs)
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6), a, b)
