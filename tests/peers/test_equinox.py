"""Equinox: a module with functions among its leaves is trained whole, or filtered to its arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import pytest
from twin_curves import each_twin, require_same_curves

eqx: Any = pytest.importorskip("equinox", reason="equinox is in the extra `peers`")
pytestmark = pytest.mark.peers

X = jax.random.normal(jax.random.key(0), (64, 3))
Y = jnp.sin(X.sum(1, keepdims=True))


def train(tx: Any, init: Any, params: Any, steps: int = 30) -> list[float]:
    """`init` and `params` say what of the module the transformation sees."""
    model = eqx.nn.MLP(3, 1, width_size=16, depth=2, activation=jnp.tanh, key=jax.random.key(1))

    @eqx.filter_value_and_grad
    def loss_and_grads(model: Any) -> Any:
        return jnp.mean((jax.vmap(model)(X) - Y) ** 2)

    @eqx.filter_jit
    def step(model: Any, state: Any) -> Any:
        loss, grads = loss_and_grads(model)
        updates, state = tx.update(grads, state, params(model))
        return eqx.apply_updates(model, updates), state, loss

    state, losses = tx.init(init(model)), []
    for _ in range(steps):
        model, state, loss = step(model, state)
        losses.append(loss)
    assert model.activation is jnp.tanh
    return losses


def arrays(model: Any) -> Any:
    return eqx.filter(model, eqx.is_inexact_array)


@each_twin
def test_a_filtered_module_trains_as_with_optax(ours, theirs):
    require_same_curves(lambda tx: train(tx, arrays, arrays), ours, theirs)


@each_twin
def test_a_whole_module_trains_as_its_arrays_do(ours, theirs):
    """optax starts from the arrays alone; ours takes the module as it is, functions included."""
    whole, filtered = lambda model: model, arrays
    require_same_curves(lambda tx: train(tx, *((whole, whole) if tx is ours else (filtered, filtered))), ours, theirs)


def test_a_frozen_part_of_a_module_stays_bit_for_bit():
    """`eqx.partition` leaves None where a leaf is frozen, in parameters and gradients alike."""
    import optchain as oc

    model = eqx.nn.MLP(3, 1, width_size=4, depth=1, key=jax.random.key(1))
    last = lambda model: model.layers[-1].weight  # noqa: E731
    spec = eqx.tree_at(last, jax.tree.map(lambda _: False, model), True)
    moving, frozen = eqx.partition(model, spec)
    tx = oc.adamw(0.1)
    grads = eqx.filter_grad(lambda m: jnp.sum(jax.vmap(eqx.combine(m, frozen))(X) ** 2))(moving)
    updates, _ = tx.update(grads, tx.init(moving), moving)
    after = eqx.combine(eqx.apply_updates(moving, updates), frozen)
    assert not jnp.allclose(last(after), last(model))
    assert eqx.tree_equal(eqx.tree_at(last, after, last(model)), model) is not False
