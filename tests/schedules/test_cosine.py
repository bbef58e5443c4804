"""Cosine schedules against optax, torch and float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiers import one_of_each

import optchain as oc

STEPS = np.arange(500)


def close(ours, theirs, tolerance=1e-6):
    chex.assert_trees_all_close(ours, np.asarray(theirs, np.float32), rtol=0, atol=tolerance)


@pytest.mark.parametrize(("steps", "end"), [(400, 0.0), (61, 0.1), (1, 0.5)])
def test_cosine_agrees_with_optax_and_float64(steps, end):
    ours = oc.cosine(1.0, steps, end)(STEPS)
    close(ours, optax.cosine_decay_schedule(1.0, steps, alpha=end)(STEPS))
    close(ours, end + (1 - end) / 2 * (1 + np.cos(np.pi * np.minimum(STEPS / steps, 1))))


@pytest.mark.parametrize("exponent", [0.5, 1.5, 2.0])
def test_a_power_of_it_is_that_of_optax(exponent):
    exact = 0.2 + 1.8 * (0.5 + 0.5 * np.cos(np.pi * np.minimum(STEPS / 400, 1))) ** exponent
    close(oc.cosine(2.0, 400, 0.2, exponent)(STEPS), exact, 5e-6)
    if exponent > 1:  # what optax has left of the small values near the end is 2e-4 off in a root
        close(optax.cosine_decay_schedule(2.0, 400, 0.1, exponent)(STEPS), exact, 2e-6)
        theirs = optax.warmup_cosine_decay_schedule(0.3, 1.0, 41, 400, 0.1, exponent)
        close(oc.warmup_cosine(1.0, 41, 400, 0.3, 0.1, exponent)(STEPS), theirs(STEPS), 2e-6)
    grads = jax.grad(lambda p, steps: jnp.sum(oc.cosine(1.0, steps, 0.0, p)(STEPS[:9])), (0, 1))(exponent, 4.0)
    assert np.all(np.isfinite(grads))


def test_small_values_near_the_end_are_precise_and_the_end_is_exact():
    ours = oc.cosine(1.0, 10_000)
    exact = np.sin(np.pi / 2 * np.arange(1, 20) / 10_000) ** 2
    chex.assert_trees_all_close(ours(10_000 - np.arange(1, 20)), exact, rtol=1e-3)
    for end in (0.0, 0.1, 0.3):
        assert np.unique(oc.cosine(1.0, 61, end)(np.asarray([61, 62, 10**7]))) == np.float32(end)


def cycles(peak, period, growth, end, steps):
    """The paper's restarts, cycle by cycle."""
    values, begin, length = [], 0.0, float(period)
    for step in range(steps):
        if step >= begin + length:
            begin, length = begin + length, length * growth
        values.append(end + (peak - end) / 2 * (1 + np.cos(np.pi * (step - begin) / length)))
    return values


@pytest.mark.parametrize(
    ("period", "growth"),
    one_of_each(
        [(10, 1), (7, 2), (64, 1.5), (41, 1), (1, 1), (1, 2), (5, 3), (3, 10), (500, 2), (16, 1.25)], lambda x: x[1]
    ),
)
@pytest.mark.parametrize("end", one_of_each([0.2, 0.0]))
def test_restarts_are_those_of_the_paper(period, growth, end):
    steps = {64: 64 + 96 + 144 + 216, 16: 16 + 20 + 25}.get(period, 3000)  # as long as the cycles are whole steps
    exact = cycles(1.0, period, growth, end, steps)
    close(oc.cosine_restarts(1.0, period, growth, end)(np.arange(steps)), exact, 2e-6)
    traced = jax.jit(lambda *numbers: oc.cosine_restarts(*numbers)(jnp.arange(steps)))
    close(traced(1.0, period, growth, end), exact, 1e-5)


@pytest.mark.full
def test_each_of_many_long_cycles_begins_at_its_own_step():
    begins = 10_000 * (2 ** np.arange(1, 10) - 1)
    restarts = oc.cosine_restarts(1.0, 10_000, 2)
    chex.assert_trees_all_equal(restarts(begins), jnp.ones(9))
    assert float(restarts(begins - 1).max()) < 1e-6
    alike = oc.cosine_restarts(1.0, 7)
    assert float(alike(7 * np.arange(200_000)).min()) == 1.0
    assert float(alike(7 * np.arange(1, 200_000) - 1).max()) < 0.05


def test_a_cycle_between_steps_begins_at_the_nearest_one():
    # The second cycle would begin at 2.4, the third at 6.72, the fourth at 14.496.
    values = oc.cosine_restarts(1.0, 2.4, 1.8)(np.arange(16))
    assert [step for step in range(1, 16) if values[step] > values[step - 1]] == [2, 7, 14]


def test_restarts_agree_with_optax():
    lengths = [7 * 2**cycle for cycle in range(6)]
    theirs = optax.sgdr_schedule(
        [{"init_value": 1.0, "peak_value": 1.0, "warmup_steps": 0, "decay_steps": n, "end_value": 0.1} for n in lengths]
    )
    steps = np.arange(sum(lengths))
    close(oc.cosine_restarts(1.0, 7, 2, 0.1)(steps), theirs(steps), 2e-6)


@pytest.mark.parametrize(
    ("warmup", "total", "start", "end"), [(100, 400, 0.0, 0.0), (41, 61, 0.3, 0.1), (0, 400, 0.0, 0.1), (1, 2, 0.5, 0)]
)
def test_warmup_cosine_agrees_with_optax(warmup, total, start, end):
    theirs = optax.warmup_cosine_decay_schedule(start, 1.0, warmup, total, end)
    close(oc.warmup_cosine(1.0, warmup, total, start, end)(STEPS), theirs(STEPS))


@pytest.mark.parametrize("warmup", [4, 5])
def test_a_warmup_leaves_a_step_for_the_fall(warmup):
    expected = f"warmup_cosine: warmup must be less than total, got warmup={warmup} and total=4"
    with pytest.raises(ValueError, match=expected):
        oc.warmup_cosine(1.0, warmup, 4)


@pytest.mark.oracles
def test_cosine_agrees_with_torch(torch_rates):
    # Up to the end: torch then rises again.
    theirs = torch_rates("CosineAnnealingLR", 1.0, 401, T_max=400, eta_min=0.1)
    close(oc.cosine(1.0, 400, 0.1)(np.arange(401)), theirs)


@pytest.mark.oracles
@pytest.mark.parametrize("growth", [1, 2])
def test_restarts_agree_with_torch(torch_rates, growth):
    theirs = torch_rates("CosineAnnealingWarmRestarts", 1.0, 500, T_0=7, T_mult=growth, eta_min=0.1)
    close(oc.cosine_restarts(1.0, 7, growth, 0.1)(STEPS), theirs, 2e-6)
