"""The presets of the moments: each is its technique, which its own tests compare with its paper, a decay and a rate."""

import inspect

import numpy as np
import pytest
import techniques
from agreement import assert_agree, by_leaf, run_float64
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.presets import moments

PRESETS = [name for name in techniques.PRESETS if vars(moments).get(name) is getattr(oc, name)]


@pytest.mark.parametrize("name", one_of_each(name for name in PRESETS if name not in ("adadelta", "rprop")))
def test_is_its_technique_then_decay_then_rate(recorded, name):
    if name == "stable_adamw":
        pytest.skip("its rule decays itself")
    decays = "weight_decay" in inspect.signature(getattr(oc, name)).parameters
    tx = getattr(oc, name)(0.01, **{"weight_decay": 0.1} if decays else {})
    (link, technique), *rest = tx.link.links
    assert technique.link.name == f"scale_by_{link}" and [x for x, _ in rest] == (["decay"] if decays else []) + ["lr"]
    updates = run_float64(technique, recorded).updates
    twin = by_leaf(decayed, updates, recorded.params, decay=0.1 if decays else 0.0)["params"]
    assert_agree(run_float64(tx, recorded).params, twin, 1e-11)


def decayed(us, p, decay):
    for u in us:
        p = p - 0.01 * (u + decay * p)
    return {"params": p}


def adadelta(gs, p, learning_rate, weight_decay, rho=0.9, eps=1e-6):
    squares, steps = np.zeros_like(p), np.zeros_like(p)
    for g in gs:
        g = g + weight_decay * p
        squares = rho * squares + (1 - rho) * g**2
        u = np.sqrt(steps + eps) / np.sqrt(squares + eps) * g
        steps = rho * steps + (1 - rho) * u**2
        p = p - learning_rate * u
    return {"params": p}


def test_adadelta_decays_the_gradient(recorded):
    options = {"learning_rate": 0.5, "weight_decay": 0.1}
    twin = by_leaf(adadelta, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(oc.adadelta(**options), recorded).params, twin, 1e-11)


def rprop(gs, p, learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    size, last = np.full_like(p, learning_rate), np.zeros_like(p)
    for g in gs:
        size = np.where(g * last > 0, np.minimum(size * eta_plus, max_step_size), size)
        size = np.where(g * last < 0, np.maximum(size * eta_minus, min_step_size), size)
        last = np.where(g * last < 0, 0, np.sign(g) * size)
        p = p - last
    return {"params": p}


def test_rprop_is_its_technique_downhill(recorded):
    twin = by_leaf(rprop, recorded.grads, recorded.params, learning_rate=1e-3)["params"]
    assert_agree(run_float64(oc.rprop(1e-3), recorded).params, twin, 1e-11)


@pytest.mark.oracles
@pytest.mark.parametrize("name", ["Rprop", "Adamax", "Adadelta", "RAdam"])
def test_agrees_with_torch(recorded, name):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    options = {"eps": 1e-30} if name == "RAdam" else {}  # which torch adds before it debiases
    params, _ = run_torch(lambda p: getattr(torch.optim, name)(p, lr=1e-3, **options), recorded)
    ours = getattr(oc, name.lower())(1e-3, **options)
    assert_agree(run_float64(ours, recorded).params, params, 1e-11)
