import jax
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from tiers import one_of_each
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE = -0.01
OPTIONS = [
    {},
    {"b1": 0.5, "b2": 0.9, "eps": 1e-4, "final_ratio": 10.0, "gamma": 0.1, "bias_correction": False},
    {"amsgrad": True, "gamma": 0.01},
]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, final_ratio=100.0, gamma=1e-3, bias_correction=True, amsgrad=False):
    """Algorithms 2 and 3 of Luo et al., in units of the learning rate; debiased on request as in their program."""
    m, v, largest, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        largest = np.maximum(largest, v)
        low, high = final_ratio * (1 - 1 / (gamma * t + 1)), final_ratio * (1 + 1 / (gamma * t))
        size = 1 / (np.sqrt(largest if amsgrad else v) + eps)
        if bias_correction:
            size = size * np.sqrt(1 - b2**t) / (1 - b1**t)
        updates.append(np.clip(size, low, high) * m)
    return {"updates": np.stack(updates), "mu": m, "nu": v, "nu_max": largest}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adabound(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu", "nu_max") if options.get("amsgrad") else ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_adabound(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.oracles
@pytest.mark.parametrize("amsgrad", [False, True])
def test_agrees_with_pytorch_optimizer(entries, amsgrad):
    """Whose bounds are absolute: 0.1 is 100 times the learning rate 1e-3. It adds 1e-15 inside the root."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(
        lambda p: other.AdaBound(p, lr=1e-3, final_lr=0.1, gamma=0.01, ams_bound=amsgrad), entries
    )
    ours = run_float64(oc.scale_by_adabound(gamma=0.01, amsgrad=amsgrad), entries, -1e-3)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-7)


def test_the_bounds_bind_and_end_in_momentum(entries):
    """Late, where gamma t is large, the update is the final ratio times the mean."""
    ours = run(oc.scale_by_adabound(gamma=1e5), entries)
    last = jax.tree.map(lambda u: u[-1], ours.updates)
    assert_agree(last, jax.tree.map(lambda m: 100.0 * m, ours.state["mu"]), 1e-6)
    free = run(oc.scale_by_adabound(eps=1e-30, final_ratio=1e9, gamma=1e-12), entries)
    adam = run(oc.scale_by_adam(eps=1e-30), entries)
    assert not np.allclose(vector(free.updates), vector(ours.updates))
    assert_agree(*(jax.tree.map(lambda u: u[50:], x.updates) for x in (free, adam)), 1e-6)
