import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import repeated
from tiers import one_of_each

import optchain as oc

RATE = -0.01
PAPER = {"eps": 0.0, "bias_correction_mu": False, "bias_correction_nu": False}
OPTIONS = [{}, {"power": 0.5}, {"power": 0.25, "b1": 0.95, "b2": 0.95, "eps": 1e-3}, PAPER]


def paper(gs, power=0.125, b1=0.9, b2=0.999, eps=1e-8, bias_correction_mu=True, bias_correction_nu=True):
    """Algorithm 1 of Chen et al., with an epsilon, and debiased on request; its 0 / 0 is 0."""
    m, v, v_hat, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_hat = np.maximum(v_hat, v / (1 - b2**t) if bias_correction_nu else v)
        mean = m / (1 - b1**t) if bias_correction_mu else m
        # Without an epsilon the divisor is v_hat**power.
        divisor = (np.sqrt(v_hat) + eps) ** (2 * power) if eps else v_hat**power
        updates.append(np.divide(mean, divisor, out=np.zeros_like(mean), where=divisor > 0))
    return {"updates": np.stack(updates), "mu": m, "nu": v, "nu_max": v_hat}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_padam(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu", "nu_max"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", [OPTIONS[2], PAPER], ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_padam(**options), entries), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.updates, twin["updates"], 1e-11)


def test_differs_from_the_paper_at_first_by_the_weights_seen():
    """The first mean is 1 - b1 of the gradient there, its square 1 - b2; we divide by both."""
    given = repeated(0, 1)
    ours, theirs = (run_float64(oc.scale_by_padam(**options), given).updates for options in ({"eps": 0.0}, PAPER))
    assert_agree(jax.tree.map(lambda u: u * 0.1 / 0.001**0.125, ours), theirs, 1e-12)


def test_half_is_amsgrad(entries):
    """optax has no twin of other powers; this one is tested against optax and torch as `scale_by_amsgrad`."""
    ours, amsgrad = (run_float64(tx, entries) for tx in (oc.scale_by_padam(power=0.5), oc.scale_by_amsgrad()))
    assert_agree(ours.updates, amsgrad.updates, 1e-12)
    assert_agree(ours.state, amsgrad.state, 1e-12)


def test_near_zero_is_momentum(entries):
    ours, mean = (run(tx, entries) for tx in (oc.scale_by_padam(power=1e-9, eps=1e-8), oc.ema(0.9)))
    assert_agree(ours.updates, mean.updates, 1e-6)


@pytest.mark.parametrize("power", [0.0, 0.51])
def test_refuses_powers_that_are_not_the_papers(power):
    with pytest.raises(ValueError, match=r"scale_by_padam: power must lie in \(0, 0.5\]"):
        oc.scale_by_padam(power=power)


def test_the_update_has_the_units_of_a_power_of_the_gradient():
    tx, g = oc.scale_by_padam(power=0.125, eps=0.0), jnp.array([0.5, -3.0])
    one, other = (tx.update(x, tx.init(x))[0] for x in (g, 16.0 * g))
    np.testing.assert_allclose(other, 16**0.75 * one, rtol=1e-6)
