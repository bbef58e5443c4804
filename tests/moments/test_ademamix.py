import numpy as np
import optax
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "b3": 0.99, "alpha": 2.0, "eps": 1e-4, "eps_root": 1e-6}]


def paper(gs, b1=0.9, b2=0.999, b3=0.9999, alpha=6.0, eps=1e-8, eps_root=0.0):
    """Algorithm 1 of Pagliardini, Ablin and Grangier; alpha and b3 may be functions of the step from 0."""
    m1, m2, v, updates = *(np.zeros(gs.shape[1:]) for _ in range(3)), []
    for t, g in enumerate(gs, 1):
        slow, weight = (x(t - 1) if callable(x) else x for x in (b3, alpha))
        m1 = b1 * m1 + (1 - b1) * g
        m2 = slow * m2 + (1 - slow) * g
        v = b2 * v + (1 - b2) * g**2
        updates.append((m1 / (1 - b1**t) + weight * m2) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps))
    return {"updates": np.stack(updates), "mu": m1, "slow": m2, "nu": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_ademamix(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "slow", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_ademamix(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_ademamix(**options), entries, RATE)
    twin = run_twin(optax.contrib.scale_by_ademamix(**options), entries, RATE)
    for slot, theirs in (("mu", "m1"), ("slow", "m2"), ("nu", "nu")):
        assert_agree(ours.state[slot], getattr(twin.state, theirs), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_warms_up_as_in_the_paper(entries):
    """1 - b3 of a scheduled b3 = 0.999 is known to 3e-5 in float32: the slow mean, and so the update, to no more."""
    tx = oc.scale_by_ademamix(b3=oc.linear_half_life(0.9, 0.999, 100), alpha=oc.linear(0.06, 6.0, 99))

    def b3(t):
        share = min((t + 1) / 100, 1.0)
        logs = np.log(0.9), np.log(0.999)
        return min(np.exp(logs[0] * logs[1] / ((1 - share) * logs[1] + share * logs[0])), 0.999)

    twin = by_leaf(paper, entries.grads, b3=b3, alpha=lambda t: min(6.0 * (t + 1) / 100, 6.0))
    ours = run(tx, entries, RATE)
    assert_agree(ours.state["slow"], twin["slow"], 1e-4)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), 1e-4)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, _ = run_torch(lambda p: other.AdEMAMix(p, lr=-RATE, alpha=6.0, weight_decay=0.0), entries)
    ours = run_float64(oc.scale_by_ademamix(**OPTIONS[0]), entries, RATE)
    assert_agree(ours.params, params, 1e-11)
