"""The linear schedule against optax and torch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


@pytest.mark.parametrize(("start", "end", "steps"), [(1.0, 0.1, 100), (0.0, 1.0, 7), (0.85, 0.95, 120), (-1.0, 1.0, 1)])
def test_agrees_with_optax(start, end, steps):
    theirs = optax.linear_schedule(start, end, steps)
    chex.assert_trees_all_close(oc.linear(start, end, steps)(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_no_steps_are_an_error_and_traced_ones_the_end_at_once():
    # optax holds the first value for ever instead: there, no steps switch the schedule off.
    with pytest.raises(ValueError, match=r"linear: steps must lie in \(0, inf\), got 0"):
        oc.linear(1.0, 0.25, 0)
    assert float(jax.jit(lambda steps: oc.linear(1.0, 0.25, steps)(0))(0.0)) == 0.25
    assert optax.linear_schedule(1.0, 0.25, 0)(0) == 1.0


def test_both_ends_are_exact_and_the_last_is_held():
    for steps in (3, 7, 41, 61, 1000):
        line = jax.jit(oc.linear(0.3, 0.7, steps))
        chex.assert_trees_all_equal(line(jnp.asarray([0, steps, 3 * steps, 2**24])), jnp.float32([0.3, 0.7, 0.7, 0.7]))


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    theirs = torch_rates("LinearLR", 1.0, 150, start_factor=0.25, end_factor=0.75, total_iters=100)
    chex.assert_trees_all_close(oc.linear(0.25, 0.75, 100)(STEPS), np.asarray(theirs), rtol=0, atol=1e-6)
