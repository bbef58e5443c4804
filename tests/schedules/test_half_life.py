"""The decay whose half-life is a line."""

import jax
import numpy as np
import pytest

import optchain as oc


def half_life(b):
    return np.log(0.5) / np.log(np.asarray(b, np.float64))


@pytest.mark.parametrize(("start", "end"), [(0.9, 0.999), (0.99, 0.5)])
def test_the_half_life_is_a_line_and_is_held(start, end):
    steps = np.arange(150)
    wanted = np.interp(steps, [0, 100], [half_life(start), half_life(end)])
    # A decay of 0.999 is known to 3e-5 of its distance from 1 in float32.
    np.testing.assert_allclose(half_life(oc.linear_half_life(start, end, 100)(steps)), wanted, rtol=1e-4)


def test_both_ends_are_exact():
    law = jax.jit(oc.linear_half_life(0.9, 0.9999, 7))
    assert law(7) == law(100) == np.float32(0.9999) and abs(law(0) - np.float32(0.9)) < 1e-7


def test_from_no_memory_and_in_no_steps():
    assert oc.linear_half_life(0.0, 0.9, 10)(0) == 0 and oc.linear_half_life(0.9, 0.99, 0)(0) == np.float32(0.99)
