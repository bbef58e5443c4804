import chex
import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc


def trained(tx, steps):
    params, seen = {"w": jnp.zeros(2)}, []
    state = tx.init(params)
    for _ in range(steps):
        params, state = oc.apply(tx, {"w": jnp.ones(2)}, state, params)
        seen.append(float(oc.averaged_params(state)["w"][0]))
    return seen, state


def test_keeps_the_parameters_at_the_end_of_each_period():
    tx = oc.chain(lr=oc.scale_by_learning_rate(1.0), snapshot=oc.snapshot_params(3))
    seen, _ = trained(tx, 8)
    assert seen == [0, 0, -3, -3, -3, -6, -6, -6]


def test_a_period_may_change_over_time():
    tx = oc.chain(lr=oc.scale_by_learning_rate(1.0), snapshot=oc.snapshot_params(oc.piecewise([2.0, 5.0], [4])))
    seen, _ = trained(tx, 12)
    assert seen == [0, -2, -2, -4, -5, -5, -5, -5, -5, -10, -10, -10]


def test_leaves_the_update_alone_and_begins_with_a_copy():
    params, tx = {"w": jnp.ones(2)}, oc.snapshot_params(2)
    state = tx.init(params)
    updates, state = jax.jit(tx.update, donate_argnums=1)(params, state, params)
    chex.assert_trees_all_equal(updates, params)
    np.testing.assert_array_equal(state["snapshot_params"]["snapshot"]["w"], 1.0)
