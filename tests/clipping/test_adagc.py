import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [{"warmup_steps": 20}, {"beta": 0.5, "max_ratio": 0.8, "warmup_steps": 1}, {"warmup_steps": 0}]


def paper(gs, beta=0.98, max_ratio=1.05, warmup_steps=100):
    """Algorithm 1 of Wang et al. for one tensor, without the global clipping of its warm-up."""
    gamma, updates = None, []
    for t, g in enumerate(gs, 1):
        n = np.sqrt(np.sum(g**2))
        if gamma is None or t < warmup_steps:
            updates.append(g)
            gamma = n if gamma is None else min(gamma, n)
        else:
            updates.append(min(max_ratio * gamma / n, 1.0) * g)
            gamma = beta * gamma + (1 - beta) * np.sqrt(np.sum(updates[-1] ** 2))
    return {"updates": np.stack(updates), "gamma": np.array(gamma)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    tx, exact = oc.clip_by_adagc(**options), by_leaf(paper, recorded.grads, **options)
    ours, wide = run(tx, recorded, -0.1), run_float64(tx, recorded)
    # The history of the norm is a product of as many factors as there were steps: each carries the rounding of its own.
    assert_agree(ours.updates, exact["updates"], 5 * SLOTS)
    assert_agree(ours.state["gamma"], exact["gamma"], 5 * SLOTS)
    assert_agree(ours.params, moved(recorded.params, exact["updates"], -0.1), PARAMS)
    assert_agree(wide.updates, exact["updates"], 1e-12)
    assert any(np.any(u != g) for u, g in zip(*map(jax.tree.leaves, (ours.updates, recorded.grads)), strict=True))


@pytest.mark.oracles
def test_a_chain_with_the_global_clip_agrees_with_pytorch_optimizer(recorded):
    """Which adds 1e-8 to each norm."""
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    make = module.AdaGC
    twin, _ = run_torch(lambda p: make(p, lr=0.01, lambda_abs=0.2, warmup_steps=20, weight_decay=0.1), recorded)
    warmup = oc.clip_by_global_norm(oc.piecewise([0.2, 1e30], [19]))
    tx = oc.chain(warmup, oc.clip_by_adagc(warmup_steps=20), oc.adamw(0.01, weight_decay=0.1))
    assert_agree(run_float64(tx, recorded).params, twin, 1e-5)


def test_zero_and_what_is_not_finite_do_not_enter_the_history():
    """With a least norm of 0 every later update would be 0; a NaN would stay for ever."""
    tx, p = oc.clip_by_adagc(beta=0.5, max_ratio=1.0, warmup_steps=4), {"w": jnp.zeros(2)}
    state = tx.init(p)
    for g, gamma in [(0.0, 0.0), (np.nan, 0.0), (2.0, 2.0), (np.inf, 2.0), (0.0, 2.0), (np.nan, 2.0), (6.0, 2.0)]:
        u, state = tx.update({"w": jnp.array([g, 0.0])}, state, p)
        assert float(own(state)["gamma"]["w"]) == gamma
    np.testing.assert_allclose(u["w"], [2.0, 0.0], rtol=1e-6)


def test_layers_have_histories_of_their_own():
    g = {"layers": jnp.array([[1.0, 0.0], [100.0, 0.0]])}
    tx = oc.over_layers(oc.clip_by_adagc(warmup_steps=1, max_ratio=1.0), "layers")
    state = tx.init(g)
    assert own(state)["gamma"]["layers"].shape == (2,)
    for factor in (1.0, 10.0):
        u, state = tx.update({"layers": factor * g["layers"]}, state, g)
    np.testing.assert_allclose(u["layers"], g["layers"], rtol=1e-6)
