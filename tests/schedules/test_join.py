"""Schedules made of schedules against optax."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


def test_agrees_with_optax():
    ours = oc.join_schedules([oc.linear(0.0, 1.0, 41), oc.cosine(1.0, 61, 0.1), oc.exponential(0.1, 0.9)], [41, 110])
    theirs = optax.join_schedules(
        [
            optax.linear_schedule(0.0, 1.0, 41),
            optax.cosine_decay_schedule(1.0, 61, 0.1),
            optax.exponential_decay(0.1, 1, 0.9),
        ],
        [41, 110],
    )
    chex.assert_trees_all_close(ours(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_schedules_of_optax_and_plain_functions_may_be_joined():
    parts = [optax.linear_schedule(0.0, 1.0, 41), lambda step: 0.5]
    ours, theirs = oc.join_schedules(parts, [41]), optax.join_schedules(parts, [41])
    with jax.numpy_dtype_promotion("strict"):
        chex.assert_trees_all_close(jax.jit(ours)(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_joins_may_be_joined_and_pass_through_jit():
    inner = oc.join_schedules([oc.linear(0.0, 1.0, 5), oc.constant(1.0)], [5])
    outer = oc.join_schedules([inner, oc.scale_schedule(inner, 0.5)], [20])
    exact = np.where(STEPS < 20, np.minimum(STEPS / 5, 1), np.minimum((STEPS - 20) / 5, 1) / 2)
    chex.assert_trees_all_close(jax.jit(lambda s: s(STEPS))(outer), exact, rtol=0, atol=1e-6)


def test_gradients_reach_the_numbers_of_each_schedule():
    def total(start, peak):
        parts = [oc.linear(start, 0.0, 10), oc.inverse_sqrt(peak, 4)]
        return oc.join_schedules(parts, [10])(jnp.arange(15)).sum()

    # The second is at its own steps 0, 1, 2, 3 and 4.
    found = jax.grad(total, (0, 1))(1.0, 1.0)
    chex.assert_trees_all_close(found, (jnp.float32(5.5), jnp.float32(2.5)), rtol=1e-6)


def test_a_schedule_does_not_see_steps_before_its_boundary():
    # Two steps before its own start the second one would divide by zero.
    def first(rate):
        return oc.join_schedules([oc.constant(0.5), oc.inverse_time(1.0, rate)], [2])(0)

    assert jax.value_and_grad(first)(0.5) == (0.5, 0.0)


def test_a_boundary_may_be_traced():
    ours = jax.jit(lambda boundary: oc.join_schedules([oc.constant(1.0), oc.linear(1.0, 0.0, 4)], [boundary])(STEPS))
    chex.assert_trees_all_close(ours(7), np.clip(1 - (STEPS - 7) / 4, 0, 1), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("schedules", "boundaries", "message"),
    [
        ([oc.constant(1.0)], [3], "1 boundaries need 2 schedules, got 1"),
        ([oc.constant(1.0), 0.5], [3], r"schedules\[1\] must be a schedule, got 0.5; did you mean constant\(0.5\)\?"),
        ([oc.constant(1.0)] * 3, [5, 3], r"boundaries must rise strictly, got 5 before 3 at boundaries\[1\]"),
        (oc.constant(1.0), [], "schedules must be a sequence, got constant"),
    ],
)
def test_schedules_that_do_not_fit(schedules, boundaries, message):
    with pytest.raises(ValueError, match=f"join_schedules: {message}"):
        oc.join_schedules(schedules, boundaries)


def test_scale_is_a_product_with_numbers_and_schedules():
    line = oc.linear(1.0, 0.0, 100)
    chex.assert_trees_all_close(oc.scale_schedule(line, 3.0)(STEPS), 3 * line(STEPS), rtol=1e-6)
    chex.assert_trees_all_close(oc.scale_schedule(line, line)(STEPS), line(STEPS) ** 2, rtol=1e-6)
    theirs = oc.scale_schedule(optax.linear_schedule(1.0, 0.0, 100), 3.0)
    chex.assert_trees_all_close(theirs(STEPS), 3 * line(STEPS), rtol=0, atol=3e-6)
    chex.assert_trees_all_equal(oc.scale_schedule(0.5, 3.0)(STEPS), jnp.full(150, 1.5))
