"""Parameters within a range, and those that are never negative."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from recorded_gradients import drawn

import optchain as oc


def projected(gs, p, low, high, rate=-0.1):
    """Projected gradient descent, entry by entry."""
    for g in gs:
        p = np.minimum(np.maximum(p + rate * g, low), high)
    return {"params": p}


@pytest.mark.parametrize("low, high", [(-0.01, 0.01), (-0.2, 0.3), (0.1, 0.5)])
def test_agrees_with_projected_descent(entries, low, high):
    tx = oc.chain(oc.sgd(0.1), oc.keep_params_in_range(low, high))
    exact = by_leaf(projected, entries.grads, entries.params, low=low, high=high)["params"]
    assert_agree(run_float64(tx, entries).params, exact, 1e-12)
    assert_agree(run(tx, entries).params, exact, PARAMS)


def test_nonnegative_agrees_with_projected_descent_and_optax(entries):
    ours = oc.chain(oc.sgd(0.1), oc.keep_params_nonnegative())
    theirs = optax.chain(optax.sgd(0.1), optax.keep_params_nonnegative())
    exact = by_leaf(projected, entries.grads, entries.params, low=0.0, high=np.inf)["params"]
    found = run(ours, entries).params
    assert_agree(run_float64(ours, entries).params, exact, 1e-12)
    assert_agree(found, exact, PARAMS)
    assert_agree(found, run_twin(theirs, entries).params, PARAMS)
    leaves = jax.tree.leaves(found)
    assert all(np.all(x >= 0) for x in leaves) and any(np.any(x == 0) for x in leaves)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("seed", range(3))
def test_what_is_stopped_at_zero_is_exactly_zero(seed, dtype):
    given = drawn(seed, 1)
    params = jax.tree.map(lambda p: p.astype(dtype), given.params)
    g = jax.tree.map(lambda g: (10 * g[0]).astype(dtype), given.grads)
    tx = oc.keep_params_nonnegative()
    u, _ = tx.update(g, tx.init(params), params)
    for p, x, a in zip(*map(jax.tree.leaves, (params, g, optax.apply_updates(params, u))), strict=True):
        below = np.asarray(p, np.float32) + np.asarray(x, np.float32) < 0
        assert below.any() and np.all(np.asarray(a)[below] == 0) and np.all(np.asarray(a, np.float32) >= 0)


def test_an_update_within_the_range_passes_exactly_and_one_from_outside_leads_to_the_edge():
    p, g = {"w": jnp.array([0.5, 0.5, 3.0, -3.0])}, {"w": jnp.array([1e-9, 9.0, 0.1, 0.1])}
    tx = oc.keep_params_in_range(-1.0, 1.0)
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_array_equal(u["w"], jnp.array([1e-9, 0.5, -2.0, 2.0]))


def test_shows_a_nan():
    tx, p = oc.keep_params_in_range(-1.0, 1.0), {"w": jnp.zeros(1)}
    assert np.isnan(tx.update({"w": jnp.array([np.nan])}, tx.init(p), p)[0]["w"][0])
