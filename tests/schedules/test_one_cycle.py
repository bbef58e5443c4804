"""The one-cycle schedule against optax and torch."""

import chex
import jax
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(130)


@pytest.mark.parametrize(("fraction", "div", "final_div"), [(0.3, 25.0, 1e4), (0.25, 10.0, 100.0), (0.0, 25.0, 1.0)])
def test_agrees_with_optax(fraction, div, final_div):
    # Where the peak is at a whole step: optax rounds it down to one.
    theirs = optax.cosine_onecycle_schedule(100, 1.0, fraction, div, final_div)
    ours = oc.one_cycle(1.0, 100, fraction, div, final_div)
    chex.assert_trees_all_close(ours(STEPS), jax.vmap(theirs)(STEPS), rtol=0, atol=1e-6)


def test_the_peak_may_lie_between_two_steps():
    values = oc.one_cycle(1.0, 10, 0.25, div=10.0)(np.arange(11))
    assert int(np.argmax(values)) == 3 and 0.9 < float(values[2]) < float(values[3]) < 1.0


def test_the_last_value_is_held():
    values = oc.one_cycle(1.0, 100, final_div=10.0)(np.asarray([100, 101, 10**6]))
    assert np.unique(values) == np.float32(1 / 250)


@pytest.mark.oracles
@pytest.mark.parametrize(("total", "warmup"), [(100, 30), (61, 41)])
def test_agrees_with_torch(torch_rates, total, warmup):
    # torch ends its phases one step earlier: at pct_start * total_steps - 1 and at total_steps - 1.
    theirs = torch_rates(
        "OneCycleLR", 1.0, total + 1, max_lr=1.0, total_steps=total + 1, pct_start=(warmup + 1) / (total + 1)
    )
    ours = oc.one_cycle(1.0, total, warmup / total)
    chex.assert_trees_all_close(ours(np.arange(total + 1)), np.asarray(theirs), rtol=0, atol=1e-6)
