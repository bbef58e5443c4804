import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64, run_twin
from recorded_gradients import drawn, scaled
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.95, "b2": 0.98, "eps": 1e-3, "eps_root": 1e-6, "weight_decay": 0.01}]


def paper(gs, p, b1=0.9, b2=0.25, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Algorithm 1 of Ginsburg et al. for one layer, with a second epsilon."""
    m, v, updates = 0.0, 0.0, []
    for t, g in enumerate(gs, 1):
        v = np.sum(g**2) if t == 1 else b2 * v + (1 - b2) * np.sum(g**2)
        m = b1 * m + g / (np.sqrt(v + eps_root) + eps) + weight_decay * p
        p = p + RATE * m
        updates.append(m)
    return {"updates": np.stack(updates), "mu": m, "nu": np.asarray(v), "params": p}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours = run(oc.scale_by_novograd(**options), recorded, RATE)
    twin = by_leaf(paper, recorded.grads, recorded.params, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], SLOTS)
    assert_agree(ours.params, twin["params"], PARAMS)


def test_is_exact_in_float64(recorded):
    ours = run_float64(oc.scale_by_novograd(**OPTIONS[1]), recorded, RATE)
    assert_agree(ours.updates, by_leaf(paper, recorded.grads, recorded.params, **OPTIONS[1])["updates"], 1e-12)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(recorded, options):
    ours = run(oc.scale_by_novograd(**options), recorded, RATE)
    twin = run_twin(optax.scale_by_novograd(**options), recorded, RATE)
    assert_agree(ours.state["mu"], twin.state.mu, 2 * SLOTS)  # the twin squares a rounded root
    assert_agree(ours.state["nu"], twin.state.nu, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_the_preset_is_that_of_optax(recorded):
    twin = run_twin(optax.novograd(0.01, weight_decay=0.01), recorded)
    assert_agree(run(oc.novograd(0.01, weight_decay=0.01), recorded).params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    """Its first step is the same; later ones begin the averages in another way."""
    oracle = pytest.importorskip("pytorch_optimizer")
    first = recorded._replace(grads=jax.tree.map(lambda g: g[:1], recorded.grads))
    _, slots = run_torch(lambda p: oracle.NovoGrad(p, lr=0.01, betas=(0.9, 0.25), eps=1e-8), first)
    assert_agree(run(oc.scale_by_novograd(), first).state["mu"], slots["moments"], SLOTS)


@pytest.mark.parametrize("seed", range(2))
def test_forgets_the_units_of_the_gradient(seed):
    tx, given = oc.scale_by_novograd(eps=0.0), drawn(seed)
    assert_agree(run(tx, scaled(given, 2.0**10)).updates, run(tx, given).updates, 1e-7)


def test_the_first_update_has_unit_norm_and_zeros_stay():
    tx, p = oc.scale_by_novograd(eps=0.0), {"w": jnp.zeros((2, 2)), "rest": jnp.zeros(3)}
    u, state = tx.update({"w": jnp.full((2, 2), 7.0), "rest": jnp.zeros(3)}, tx.init(p), p)
    np.testing.assert_allclose(u["w"], 0.5, rtol=1e-6)
    assert u["rest"].tolist() == [0.0] * 3
    assert jax.tree.map(jnp.shape, own(state)["nu"]) == {"w": (), "rest": ()}
