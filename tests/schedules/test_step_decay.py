"""Decay in steps against optax, torch and float64."""

import chex
import jax
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(2000)


@pytest.mark.parametrize("every", [1, 7, 41, 49, 61, 300])
def test_agrees_with_float64_at_every_boundary(every):
    exact = 0.9 ** (STEPS // every)
    for schedule in (oc.step_decay(1.0, 0.9, every), jax.jit(oc.step_decay(1.0, 0.9, every))):
        chex.assert_trees_all_close(schedule(STEPS), exact, rtol=0, atol=1e-6)


def test_agrees_with_optax():
    # Run eagerly: compiled, optax's divides by 41 through a product and decays at step 42.
    theirs = optax.exponential_decay(1.0, 41, 0.9, staircase=True)
    chex.assert_trees_all_close(oc.step_decay(1.0, 0.9, 41)(STEPS), theirs(STEPS), rtol=0, atol=1e-6)


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    theirs = torch_rates("StepLR", 1.0, 2000, step_size=41, gamma=0.9)
    chex.assert_trees_all_close(oc.step_decay(1.0, 0.9, 41)(STEPS), np.asarray(theirs), rtol=0, atol=1e-6)
