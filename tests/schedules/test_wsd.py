"""Warm-up, stable, decay against joined schedules of optax."""

import chex
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


@pytest.mark.parametrize(
    ("warmup", "total", "decay", "end"), [(10, 100, 20, 0.0), (41, 102, 61, 0.1), (1, 100, 1, 0.5), (50, 100, 50, 0.2)]
)
def test_agrees_with_optax_joined(warmup, total, decay, end):
    theirs = optax.join_schedules(
        [
            optax.linear_schedule(0.0, 1.0, warmup),
            optax.constant_schedule(1.0),
            optax.linear_schedule(1.0, end, decay),
        ],
        [warmup, total - decay],
    )
    chex.assert_trees_all_close(oc.wsd(1.0, warmup, total, decay, end)(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


def test_there_may_be_no_warm_up_and_nothing_between_it_and_the_decay():
    chex.assert_trees_all_equal(oc.wsd(1.0, 0, 4, 1)(np.arange(6)), jnp.float32([1, 1, 1, 1, 0, 0]))
    chex.assert_trees_all_equal(oc.wsd(1.0, 3, 4, 1, 0.5)(np.arange(6))[3:], jnp.float32([1, 0.5, 0.5]))
    chex.assert_trees_all_equal(oc.wsd(1.0, 0, 4, 4)(np.arange(6)), oc.linear(1.0, 0.0, 4)(np.arange(6)))


def test_phases_longer_than_the_whole():
    with pytest.raises(ValueError, match=r"wsd: warmup \+ decay must be at most total, got 5 \+ 6 and 10"):
        oc.wsd(1.0, 5, 10, 6)
