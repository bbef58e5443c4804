"""Constant pieces against optax and torch."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


def test_agrees_with_optax():
    theirs = optax.piecewise_constant_schedule(1.0, {30: 0.5, 100: 0.1})
    chex.assert_trees_all_close(oc.piecewise([1.0, 0.5, 0.05], [30, 100])(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_values_and_boundaries_may_be_traced_and_arrays():
    ours = jax.jit(lambda values, boundaries: oc.piecewise(values, boundaries)(STEPS))
    found = ours(jnp.float32([1.0, 0.5, 0.25]), jnp.int32([30, 100]))
    chex.assert_trees_all_equal(found, oc.piecewise([1.0, 0.5, 0.25], [30, 100])(STEPS))


def test_each_value_gets_the_gradient_of_its_own_steps():
    found = jax.grad(lambda values: oc.piecewise(values, (30, 100))(STEPS).sum())((1.0, 0.5, 0.25))
    chex.assert_trees_all_equal(found, jax.tree.map(jnp.float32, (30.0, 70.0, 50.0)))


def test_without_boundaries_it_is_constant():
    chex.assert_trees_all_equal(oc.piecewise([0.5], [])(STEPS), oc.constant(0.5)(STEPS))


def test_a_value_may_be_a_schedule_of_the_same_steps():
    found = oc.piecewise([oc.linear(0.0, 1.0, 100), 0.5], [10])(STEPS)
    chex.assert_trees_all_close(found, np.where(STEPS < 10, STEPS / 100, 0.5), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "boundaries", "message"),
    [
        ([1.0, 0.5], [], "0 boundaries need 1 values, got 2"),
        ([1.0, 0.5], [3, 4], "2 boundaries need 3 values, got 2"),
        ([1.0, 0.5, 0.1], [4, 4], r"boundaries must rise strictly, got 4 before 4 at boundaries\[1\]"),
        ([1.0, 0.5], [-1], r"boundaries\[0\] must lie in \[0, inf\), got -1"),
        ([1.0, "0.5"], [3], r"values\[1\] must be a scalar"),
        (1.0, [], "values must be a sequence, got 1.0"),
    ],
)
def test_pieces_that_do_not_fit(values, boundaries, message):
    with pytest.raises(ValueError, match=f"piecewise: {message}"):
        oc.piecewise(values, boundaries)


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    theirs = torch_rates("MultiStepLR", 1.0, 150, milestones=[30, 100], gamma=0.1)
    chex.assert_trees_all_close(oc.piecewise([1.0, 0.1, 0.01], [30, 100])(STEPS), np.asarray(theirs), rtol=0, atol=1e-6)
