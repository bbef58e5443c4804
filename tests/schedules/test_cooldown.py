"""The end of a schedule, and the 1-sqrt shape, against the papers' formulas."""

import chex
import jax
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(150)


def one_minus_sqrt(total, decay, peak=1.0):
    """Equation 1 of Hägele et al. after a constant rate."""
    x = np.clip((STEPS - (total - decay)) / decay, 0, 1)
    return peak * (1 - np.sqrt(x))


@pytest.mark.parametrize(("total", "decay"), [(100, 20), (100, 100), (41, 1)])
def test_agrees_with_the_paper(total, decay):
    exact = one_minus_sqrt(total, decay)
    chex.assert_trees_all_close(oc.cooldown(oc.constant(1.0), total, decay, power=0.5)(STEPS), exact, rtol=0, atol=1e-6)
    chex.assert_trees_all_close(oc.wsd(1.0, 0, total, decay, power=0.5)(STEPS), exact, rtol=0, atol=1e-6)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_of_a_warm_up_is_wsd(power):
    found = oc.cooldown(oc.linear(0.0, 1.0, 10), 100, 30, 0.1, power)
    chex.assert_trees_all_close(found(STEPS), oc.wsd(1.0, 10, 100, 30, 0.1, power)(STEPS), rtol=0, atol=1e-6)


def test_begins_at_the_value_that_the_schedule_has_there():
    base, found = optax.cosine_decay_schedule(1.0, 100), oc.cooldown(optax.cosine_decay_schedule(1.0, 100), 60, 20)
    exact = np.where(STEPS < 40, base(STEPS), base(40) * np.clip((60 - STEPS) / 20, 0, 1))
    chex.assert_trees_all_close(found(STEPS), exact, rtol=0, atol=1e-6)


def test_one_run_can_be_cooled_down_at_several_lengths():
    base = oc.power_law(0.5, 1.0, -0.5, 5)
    short, long = (oc.cooldown(base, total, 10) for total in (50, 120))
    chex.assert_trees_all_equal(short(STEPS[:41]), base(STEPS[:41]))
    chex.assert_trees_all_equal(long(STEPS[:111]), base(STEPS[:111]))
    assert float(short(50)) == 0 and float(long(120)) == 0


def test_it_may_last_the_whole():
    chex.assert_trees_all_equal(oc.cooldown(oc.constant(1.0), 4, 4)(np.arange(6)), oc.linear(1.0, 0.0, 4)(np.arange(6)))


def test_the_root_has_a_finite_gradient_where_it_begins():
    gradient = jax.grad(lambda decay: oc.wsd(1.0, 0, 10, decay, power=0.5)(5))
    assert float(gradient(5.0)) == 0.0 and np.isfinite(gradient(5.1)) and float(gradient(5.1)) < 0.0


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: oc.cooldown(oc.constant(1.0), 5, 6), "decay must be at most total, got 6 and 5"),
        (lambda: oc.cooldown(1.0, 5, 1), r"base must be a schedule, got 1.0; did you mean constant\(1.0\)\?"),
    ],
)
def test_refuses(call, message):
    with pytest.raises(ValueError, match=f"^cooldown: {message}"):
        call()
