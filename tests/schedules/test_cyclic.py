"""Cyclical learning rates against the paper and torch."""

import chex
import numpy as np
import pytest

import optchain as oc

STEPS = np.arange(1000)


def clr(low, high, half, amplitude):
    """The paper's code in float64, with a function of the cycle (from 0) and the step."""
    cycle = np.floor(1 + STEPS / (2 * half))
    x = np.abs(STEPS / half - 2 * cycle + 1)
    return low + (high - low) * np.maximum(0, 1 - x) * amplitude(cycle - 1, STEPS)


@pytest.mark.parametrize("half", [1, 4, 41, 61, 700, 2.5])
@pytest.mark.parametrize(
    ("options", "amplitude"),
    [
        ({}, lambda cycle, step: 1.0),
        ({"shrink": 0.5}, lambda cycle, step: 0.5**cycle),
        ({"gamma": 0.999}, lambda cycle, step: 0.999**step),
    ],
    ids=["triangular", "triangular2", "exp_range"],
)
def test_agrees_with_the_paper(half, options, amplitude):
    exact = clr(0.1, 1.0, half, amplitude)
    chex.assert_trees_all_close(oc.triangular(0.1, 1.0, half, **options)(STEPS), exact, rtol=0, atol=1e-6)


def test_momentum_may_go_the_other_way():
    exact = clr(0.95, 0.85, 10, lambda cycle, step: 1.0)
    chex.assert_trees_all_close(oc.triangular(0.95, 0.85, 10)(STEPS), exact, rtol=0, atol=1e-6)


@pytest.mark.oracles
@pytest.mark.parametrize(
    ("mode", "options"), [("triangular", {}), ("triangular2", {"shrink": 0.5}), ("exp_range", {"gamma": 0.99})]
)
def test_agrees_with_torch(torch_rates, mode, options):
    theirs = torch_rates(
        "CyclicLR",
        0.1,
        1000,
        base_lr=0.1,
        max_lr=1.0,
        step_size_up=41,
        mode=mode,
        gamma=options.get("gamma", 1.0),
        cycle_momentum=False,
    )
    chex.assert_trees_all_close(oc.triangular(0.1, 1.0, 41, **options)(STEPS), np.asarray(theirs), rtol=0, atol=1e-6)
