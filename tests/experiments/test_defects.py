"""What goes wrong on bare optax is right here; `experiments.benchmarks laws` prints the table beside optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import one_of_each

import optchain as oc
from experiments.benchmarks.defects import DEFECTS


@pytest.mark.parametrize("name", one_of_each(DEFECTS, lambda name: DEFECTS[name].pair.__module__))
def test_the_defect_is_not_ours(name):
    row = DEFECTS[name].row()
    assert row["optchain_right"], f"{row['situation']}: expected {row['expected']}, got {row['optchain']}"


@pytest.mark.parametrize("clip", [oc.clip_by_global_norm, oc.clip_by_leaf_norm])
def test_float16_gradients_whose_norm_overflows_are_clipped(clip):
    grads = {"w": jnp.full((4,), 6e4, jnp.float16)}
    tx = clip(1.0)
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_array_equal(updates["w"], jnp.full((4,), 0.5, jnp.float16))


def test_an_infinite_entry_is_reported():
    grads = {"w": jnp.array([1.0, jnp.inf, 2.0])}
    tx = oc.chain(clip=oc.clip_by_global_norm(1.0))
    _, state = tx.update(grads, tx.init(grads))
    assert oc.metrics(state)["clip.norm"] == np.inf and oc.metrics(state)["clip.scale"] == 0


@pytest.mark.parametrize("through_jit", [True, False])
def test_numbers_stay_float32_on_bfloat16_parameters(through_jit):
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    tx = oc.adamw(1e-3, b2=0.999)
    update = jax.jit(tx.update) if through_jit else tx.update
    hyper = {"adam.b2": jnp.float32(0.999), "adam.b1": jnp.bfloat16(0.9)}
    updates, state = update(params, tx.init(params), params, hyper=hyper)
    assert oc.metrics(state)["adam.b2"] == np.float32(0.999)
    assert all(x.dtype == jnp.float32 for name, x in oc.metrics(state).items() if name != "step")
    chex.assert_tree_all_finite(updates)


@pytest.mark.parametrize("number", [1e-3, jnp.float32(1e-3)], ids=["constant", "float32 array"])
@pytest.mark.parametrize(
    "params, grads", [(jnp.bfloat16, jnp.bfloat16), (jnp.bfloat16, jnp.float32), (jnp.float16, jnp.float32)]
)
def test_slot_dtypes_are_fixed_from_init_so_that_scan_works(number, params, grads):
    p, g = {"w": jnp.ones(3, params)}, {"w": jnp.ones(3, grads)}
    tx = oc.chain(
        adam=oc.scale_by_adam(b1=jnp.float32(0.9)), belief=optax.scale_by_belief(), lr=oc.scale_by_learning_rate(number)
    )

    def step(carry, _):
        updates, state = tx.update(g, carry[1], carry[0])
        return (optax.apply_updates(carry[0], updates), state), None

    (after, _), _ = jax.lax.scan(step, (p, tx.init(p)), length=3)
    assert after["w"].dtype == params


def test_the_current_learning_rate_is_read_by_name_for_one_schedule_and_for_two_groups():
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    one = oc.adamw(lambda step: 0.1 / (1 + step))
    two = oc.chain(groups=optax.partition({"slow": oc.sgd(0.01), "fast": oc.sgd(0.1)}, {"a": "slow", "b": "fast"}))
    states = []
    for tx in (one, two):
        state = tx.init(params)
        for _ in range(3):
            _, state = tx.update(params, state, params)
        states.append(oc.metrics(state))
    np.testing.assert_allclose(states[0]["lr.learning_rate"], 0.1 / 3, rtol=1e-6)
    rates = {name: float(x) for name, x in states[1].items() if name.endswith("learning_rate")}
    assert sorted(rates.values()) == [float(np.float32(0.01)), float(np.float32(0.1))]
