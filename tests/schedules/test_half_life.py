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
    expected = np.interp(steps + 1, [0, 100], [half_life(start), half_life(end)])
    # A decay of 0.999 is known to 3e-5 of its distance from 1 in float32.
    np.testing.assert_allclose(half_life(oc.linear_half_life(start, end, 100)(steps)), expected, rtol=1e-4)


def test_the_first_update_is_number_one_and_the_end_is_exact():
    law = jax.jit(oc.linear_half_life(0.9, 0.9999, 1000))
    assert law(999) == law(2000) == np.float32(0.9999) and abs(law(0) - 0.94996) < 1e-5


def test_from_no_memory():
    assert abs(oc.linear_half_life(0.0, 0.5, 2)(0) - 0.25) < 0.01  # half of a half-life of one step
    assert oc.linear_half_life(0.0, 0.9, 1)(0) == np.float32(0.9)
