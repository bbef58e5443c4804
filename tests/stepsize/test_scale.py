import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, moved, run, run_float64, run_twin

import optchain as oc


@pytest.mark.parametrize("factor", [-0.1, 0.0, 3.0])
def test_agrees_with_the_definition_and_optax(entries, factor):
    ours, twin = run(oc.scale(factor), entries), run_twin(optax.scale(factor), entries)
    chex.assert_trees_all_equal(ours.updates, twin.updates)
    assert_agree(ours.params, moved(entries.params, entries.grads, factor), PARAMS)


def test_follows_a_schedule_from_step_0():
    given = {"w": jnp.ones(3)}
    tx = oc.scale(lambda step: 10.0 + step)
    state = tx.init(given)
    for expected in (10.0, 11.0, 12.0):
        u, state = tx.update(given, state)
        chex.assert_trees_all_equal(u, {"w": jnp.full(3, expected)})


def test_is_exact_in_float64(entries):
    ours = run_float64(oc.scale(-0.3), entries)
    chex.assert_trees_all_equal(ours.updates, jax.tree.map(lambda g: -0.3 * np.asarray(g, np.float64), entries.grads))
