import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import run, run_float64, run_twin
from recorded_gradients import drawn

import optchain as oc

BOUNDS = [1e-4, 1e-2, 1e3]  # clips most entries, some, none


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_the_definition(entries, bound):
    c = np.float32(bound)
    expected = jax.tree.map(lambda g: np.minimum(np.maximum(np.asarray(g), -c), c), entries.grads)
    chex.assert_trees_all_equal(run(oc.clip(bound), entries).updates, expected)


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_optax(entries, bound):
    ours, twin = run(oc.clip(bound), entries, -0.1), run_twin(optax.clip(bound), entries, -0.1)
    chex.assert_trees_all_equal(ours.updates, twin.updates)
    chex.assert_trees_all_equal(ours.params, twin.params)


def test_is_exact_in_float64(entries):
    expected = jax.tree.map(lambda g: np.clip(np.asarray(g, np.float64), -0.01, 0.01), entries.grads)
    chex.assert_trees_all_equal(run_float64(oc.clip(0.01), entries).updates, expected)


@pytest.mark.parametrize("seed", range(3))
def test_leaves_gradients_within_the_bound_alone(seed):
    given = drawn(seed)
    largest = float(max(np.abs(g).max() for g in given.grads.values()))
    chex.assert_trees_all_equal(run(oc.clip(largest), given).updates, given.grads)


@pytest.mark.parametrize("seed", range(3))
def test_clips_once_for_all(seed):
    given, tx = drawn(seed), oc.clip(0.1)
    once = run(tx, given).updates
    assert max(np.abs(u).max() for u in once.values()) == np.float32(0.1)
    chex.assert_trees_all_equal(run(tx, given._replace(grads=once)).updates, once)


def test_limits_an_infinity_and_shows_a_nan():
    g, tx = {"w": jnp.array([np.inf, -np.inf, np.nan, 0.5])}, oc.clip(2.0)
    chex.assert_trees_all_equal(tx.update(g, tx.init(g))[0]["w"], jnp.array([2.0, -2.0, np.nan, 0.5]))
