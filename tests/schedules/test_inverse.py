"""Inverse decays against float64 and torch."""

import chex
import numpy as np
import pytest

import optchain as oc

STEPS = np.arange(3000)


@pytest.mark.parametrize("rate", [0.0, 0.01, 2.0])
def test_inverse_time_agrees_with_float64(rate):
    chex.assert_trees_all_close(oc.inverse_time(1.0, rate)(STEPS), 1 / (1 + rate * STEPS), rtol=0, atol=1e-6)
    exact = 1 / (1 + rate * STEPS) ** 0.75
    chex.assert_trees_all_close(oc.inverse_time(1.0, rate, 0.75)(STEPS), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("warmup", [1, 41, 1000])
def test_inverse_sqrt_agrees_with_float64(warmup):
    exact = np.minimum(STEPS / warmup, np.sqrt(warmup / np.maximum(STEPS, 1)))
    ours = oc.inverse_sqrt(1.0, warmup)
    chex.assert_trees_all_close(ours(STEPS), exact, rtol=0, atol=1e-6)
    assert float(ours(warmup)) == 1.0


@pytest.mark.parametrize(("width", "warmup"), [(512, 4000), (64, 41), (256, 1)])
def test_noam_is_the_papers_equation_with_updates_from_one(width, warmup):
    update = STEPS + 1.0
    exact = width**-0.5 * np.minimum(update**-0.5, update * warmup**-1.5)
    chex.assert_trees_all_close(oc.noam(width, warmup)(STEPS), exact, rtol=0, atol=1e-6 * exact.max())
    chex.assert_trees_all_close(oc.noam(width, warmup, 2.0)(STEPS), 2 * exact, rtol=0, atol=2e-6 * exact.max())


def test_noam_is_an_inverse_root_one_step_later():
    peak = 512**-0.5 * 400**-0.5
    chex.assert_trees_all_close(
        oc.noam(512, 400)(STEPS), oc.inverse_sqrt(peak, 400)(STEPS + 1), rtol=0, atol=1e-6 * peak
    )


def test_inverse_sqrt_needs_a_warmup():
    with pytest.raises(ValueError, match=r"inverse_sqrt: warmup must lie in \[1, inf\), got 0"):
        oc.inverse_sqrt(1.0, 0)


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    theirs = torch_rates("LambdaLR", 0.5, 3000, lr_lambda=lambda step: 1 / (1 + 0.01 * step))
    chex.assert_trees_all_close(oc.inverse_time(0.5, 0.01)(STEPS), np.asarray(theirs), rtol=0, atol=5e-7)
