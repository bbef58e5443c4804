"""Flax nnx: `nnx.Optimizer` holds a transformation of ours and steps the module in place."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from twin_curves import each_twin, require_same_curves

nnx: Any = pytest.importorskip("flax.nnx", reason="flax is in the extra `lab`")
pytestmark = pytest.mark.peers

X = jax.random.normal(jax.random.key(0), (64, 3))
Y = jnp.sin(X.sum(1, keepdims=True))


@each_twin
def test_a_module_with_statistics_trains_as_with_optax(ours, theirs):
    """Batch statistics are in the module, and are not parameters."""

    def train(tx: Any) -> list[float]:
        rngs = nnx.Rngs(0)
        model = nnx.Sequential(
            nnx.Linear(3, 16, rngs=rngs), nnx.BatchNorm(16, rngs=rngs), nnx.tanh, nnx.Linear(16, 1, rngs=rngs)
        )
        optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

        @nnx.jit
        def step(model: Any, optimizer: Any) -> jax.Array:
            value, grads = nnx.value_and_grad(lambda model: jnp.mean((model(X) - Y) ** 2))(model)
            optimizer.update(model, grads)
            return value

        return [step(model, optimizer) for _ in range(30)]

    require_same_curves(train, ours, theirs)
