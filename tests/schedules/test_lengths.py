"""Schedules in fractions of a run and in tokens are those in steps."""

import chex
import numpy as np
import pytest

import optchain as oc

STEPS = np.arange(1200)


@pytest.mark.parametrize("total", [100, 977, 1000])
def test_fractions_of_a_run_are_lengths_in_steps(total):
    pairs = [
        (oc.wsd(1.0, 0.1, 1.0, 0.2), oc.wsd(1.0, 0.1 * total, total, 0.2 * total)),
        (oc.warmup_cosine(1.0, 0.1, 1.0), oc.warmup_cosine(1.0, 0.1 * total, total)),
        (
            oc.cooldown(oc.linear(0.0, 1.0, 0.1), 1.0, 0.5),
            oc.cooldown(oc.linear(0.0, 1.0, 0.1 * total), total, 0.5 * total),
        ),
    ]
    for fractions, steps in pairs:
        chex.assert_trees_all_close(oc.in_fractions(fractions, total)(STEPS), steps(STEPS), rtol=0, atol=3e-6)


def test_a_boundary_is_met_at_its_step():
    """A step over the total is rounded once, to the number that the fraction itself is rounded to."""
    for total in (7, 10, 100, 1000, 10_000):
        for begin in range(1, 10):
            jump = oc.in_fractions(oc.piecewise([1.0, 0.0], [begin / 10]), total)
            at = np.ceil(begin * total / 10)
            assert [float(jump(step)) for step in (at - 1, at)] == [1.0, 0.0], (total, begin)


@pytest.mark.parametrize("tokens", [1, 524_288, 0.5])
def test_lengths_in_tokens_are_lengths_in_steps(tokens):
    found = oc.in_tokens(oc.cosine(1.0, steps=1000 * tokens), tokens)
    chex.assert_trees_all_close(found(STEPS), oc.cosine(1.0, 1000)(STEPS), rtol=0, atol=1e-6)


def test_another_batch_size_is_the_same_schedule_of_the_tokens():
    base = oc.warmup_cosine(1.0, 1e6, 1e8)
    small, large = oc.in_tokens(base, 1e5), oc.in_tokens(base, 4e5)
    chex.assert_trees_all_close(small(4 * STEPS), large(STEPS), rtol=0, atol=1e-6)


@pytest.mark.parametrize("make", [oc.in_fractions, oc.in_tokens])
def test_a_number_is_no_schedule(make):
    with pytest.raises(ValueError, match=rf"{make.__name__}: base must be a schedule, got 0.1; did you mean constant"):
        make(0.1, 100)
