import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import Recorded
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4, "eps_root": 1e-6}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
    """Algorithm 2 of Zhuang et al."""
    m, s, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        s = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
        updates.append(m / (1 - b1**t) / (np.sqrt(s / (1 - b2**t)) + eps))
    return {"updates": np.stack(updates), "mu": m, "nu": s}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_belief(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_belief(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_belief(**options), entries, RATE)
    twin = run_twin(optax.scale_by_belief(**options), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(lambda p: other.AdaBelief(p, lr=-RATE, eps=1e-16), entries)
    ours = run_float64(oc.scale_by_belief(**OPTIONS[0]), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 1e-12)
    assert_agree(ours.state["nu"], slots["exp_avg_var"], 1e-12)
    assert_agree(ours.params, params, 1e-11)


def test_a_gradient_that_is_as_foreseen_makes_long_steps():
    """After a while a constant gradient makes longer steps than one of changing sign and the same size."""
    steady, changing = np.ones((60, 1), np.float32), np.float32([[1.0], [-1.0]] * 30)
    sizes = [
        np.abs(run(oc.scale_by_belief(), Recorded({"w": np.zeros(1, np.float32)}, {"w": gs})).updates["w"][-1, 0])
        for gs in (steady, changing)
    ]
    assert sizes[0] > 2 > 20 * sizes[1]
