import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import blank
from tiers import one_of_each
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 2 of Kingma and Ba, with the epsilon of PyTorch and optax."""
    m, u, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        u = np.maximum(b2 * u, np.abs(g) + eps)
        updates.append(m / (1 - b1**t) / u)
    return {"updates": np.stack(updates), "mu": m, "nu": u}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adamax(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_adamax(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_adamax(**options), entries, RATE)
    twin = run_twin(optax.scale_by_adamax(**options), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.Adamax(p, lr=-RATE), entries)
    ours = run_float64(oc.scale_by_adamax(**OPTIONS[0]), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 1e-12)
    assert_agree(ours.state["nu"], slots["exp_inf"], 1e-12)
    assert_agree(ours.params, params, 1e-11)


def test_without_eps_an_entry_that_never_had_a_gradient_stays(entries):
    updates, rested = vector(run(oc.scale_by_adamax(eps=0.0), entries).updates, 1), vector(blank(entries)) == 1
    assert rested.any() and np.all(updates[:, rested] == 0) and np.all(np.isfinite(updates))
