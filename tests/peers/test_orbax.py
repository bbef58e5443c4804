"""Orbax: a run that is stopped and restored from its checkpoint follows the curve of optax's unbroken run."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from twin_curves import each_twin, require_same_curves

ocp: Any = pytest.importorskip("orbax.checkpoint", reason="orbax-checkpoint is in the extra `lab`")
pytestmark = pytest.mark.peers

X = jax.random.normal(jax.random.key(0), (64, 3))
Y = jnp.sin(X.sum(1))
START = {"hidden": {"w": jax.random.normal(jax.random.key(1), (3, 16))}, "out": jnp.zeros(16)}


def loss(params: Any) -> jax.Array:
    return jnp.mean((jnp.tanh(X @ params["hidden"]["w"]) @ params["out"] - Y) ** 2)


@each_twin
def test_a_restored_run_follows_the_unbroken_one(tmp_path, ours, theirs):
    def train(tx: Any) -> list[float]:
        @jax.jit
        def step(params: Any, state: Any) -> Any:
            value, grads = jax.value_and_grad(loss)(params)
            updates, state = tx.update(grads, state, params)
            return jax.tree.map(jnp.add, params, updates), state, value

        params, state, losses = START, tx.init(START), []
        for i in range(30):
            if tx is ours and i == 13:
                params, state = through_disk(tmp_path / "run", (params, state), (START, tx.init(START)))
            params, state, value = step(params, state)
            losses.append(value)
        return losses

    require_same_curves(train, ours, theirs)


def through_disk(path: Any, tree: Any, like: Any) -> Any:
    """What a checkpoint gives back, restored into trees of a fresh start."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)
        checkpointer.wait_until_finished()
        return checkpointer.restore(path, jax.tree.map(ocp.utils.to_shape_dtype_struct, like))
