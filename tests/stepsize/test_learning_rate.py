import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, moved, run, run_float64, run_twin
from recorded_gradients import STEPS

import optchain as oc


@pytest.mark.parametrize("options", [{}, {"flip_sign": False}], ids=str)
@pytest.mark.parametrize("rate", [0.1, -0.1, 0.0])
def test_agrees_with_the_definition_and_optax(entries, rate, options):
    ours = run(oc.scale_by_learning_rate(rate, **options), entries)
    twin = run_twin(optax.scale_by_learning_rate(rate, **options), entries)
    chex.assert_trees_all_equal(ours.updates, twin.updates)
    sign = -1 if options.get("flip_sign", True) else 1
    assert_agree(ours.params, moved(entries.params, entries.grads, sign * rate), PARAMS)


def test_follows_a_schedule_from_step_0_as_optax_does(entries):
    def halving(step):
        return 0.1 * 0.5 ** (step // 50).astype(jnp.float32)

    ours = run(oc.scale_by_learning_rate(halving), entries).updates
    twin = run_twin(optax.scale_by_learning_rate(halving), entries).updates
    chex.assert_trees_all_close(ours, twin, rtol=1e-6)
    rates = np.array([-0.1 * 0.5 ** (t // 50) for t in range(STEPS)])
    expected = jax.tree.map(lambda g: np.asarray(g) * rates.reshape(-1, *(1,) * (g.ndim - 1)), entries.grads)
    assert_agree(ours, expected, 1e-6)


def test_is_exact_in_float64(entries):
    ours = run_float64(oc.scale_by_learning_rate(0.1), entries)
    chex.assert_trees_all_equal(ours.updates, jax.tree.map(lambda g: -0.1 * np.asarray(g, np.float64), entries.grads))


def test_takes_a_traced_rate_without_a_new_trace():
    g = {"w": jnp.array([1.0, -2.0])}

    @jax.jit
    @chex.assert_max_traces(1)
    def update(rate):
        tx = oc.scale_by_learning_rate(rate)
        return tx.update(g, tx.init(g))[0]

    for rate in (0.5, 0.25):
        chex.assert_trees_all_equal(update(rate), {"w": -rate * g["w"]})
