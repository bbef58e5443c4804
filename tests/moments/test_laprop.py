import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import scaled
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-15):
    """Algorithm 1 of Ziyin, Wang and Ueda at a constant rate."""
    n, m, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        n = b2 * n + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g / (np.sqrt(n / (1 - b2**t)) + eps)
        updates.append(m / (1 - b1**t))
    return {"updates": np.stack(updates), "mu": m, "nu": n}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_laprop(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_laprop(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """Which adds 1e-15 inside the root too: nothing beside gradients so large."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    large = scaled(entries, 2.0**40)
    params, slots = run_torch(lambda p: other.LaProp(p, lr=-RATE), large)
    ours = run_float64(oc.scale_by_laprop(), large, RATE)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-8)


def test_without_memory_of_gradients_it_is_debiased_rmsprop(entries):
    ours = run(oc.scale_by_laprop(b1=0.0, eps=1e-8), entries).updates
    twin = run(oc.scale_by_rms(0.999, eps_in_sqrt=False, bias_correction=True), entries).updates
    assert_agree(ours, twin, SLOTS)
