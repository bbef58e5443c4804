import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import STEPS
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [
    {},
    {"b1": 0.95, "b2": 0.95, "eps_root": 1e-6, "bias_correction_mu": False, "bias_correction_nu": False},
]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, bias_correction_mu=True, bias_correction_nu=True):
    """Algorithm 2 of Reddi, Kale and Kumar, with epsilons, and debiased on request."""
    m, v, v_hat, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        v_hat = np.maximum(v_hat, v / (1 - b2**t) if bias_correction_nu else v)
        mean = m / (1 - b1**t) if bias_correction_mu else m
        updates.append(mean / (np.sqrt(v_hat + eps_root) + eps))
    return {"updates": np.stack(updates), "mu": m, "nu": v, "nu_max": v_hat}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_amsgrad(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu", "nu_max"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_amsgrad(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    """Whose first debiased mean squares are 1.3e-5 off (it computes 1 - 0.999 in float32); one may be the largest."""
    ours = run(oc.scale_by_amsgrad(**options), entries, RATE)
    twin = run_twin(optax.scale_by_amsgrad(**options), entries, RATE)
    assert_agree(ours.state["mu"], twin.state.mu, SLOTS)
    assert_agree(ours.state["nu"], twin.state.nu, SLOTS)
    assert_agree(ours.state["nu_max"], twin.state.nu_max, 4e-5)
    assert_agree(ours.params, twin.params, 2 * PARAMS)


@pytest.mark.oracles
def test_differs_from_torch_in_the_order(entries):
    """torch debiases the maximum, where we take the maximum of what is debiased: its update is ours times a factor."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.Adam(p, lr=-RATE, eps=1e-30, amsgrad=True), entries)
    ours = run_float64(oc.scale_by_amsgrad(eps=1e-30, bias_correction_nu=False), entries)
    assert_agree(ours.state["nu_max"], slots["max_exp_avg_sq"], 1e-12)
    factors = np.sqrt(1 - 0.999 ** np.arange(1, STEPS + 1))
    updates = jax.tree.map(lambda u: u * factors.reshape(-1, *(1,) * (u.ndim - 1)), ours.updates)
    assert_agree(moved(entries.params, updates, RATE), params, 1e-11)


def test_the_divisor_never_shrinks():
    tx, grads = oc.scale_by_amsgrad(), np.float32([1.0, 10.0, 0.1, 0.1])
    state, seen = tx.init(jax.numpy.zeros(1)), []
    for g in grads:
        _, state = tx.update(jax.numpy.full(1, g), state)
        seen.append(float(own(state)["nu_max"][0]))
    assert seen[0] < seen[1] == seen[2] == seen[3]
