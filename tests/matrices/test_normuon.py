import functools
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import repeated
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.matrices.newton_schulz import MUON, polynomials

RATE = -0.01
OPTIONS = [{}, {"b1": 0.9, "b2": 0.99, "eps": 1e-3, "nesterov": True, "ns_coeffs": "polar_express", "ns_steps": 6}]


def paper(gs, b1=0.95, b2=0.95, eps=1e-8, ns_steps=5, nesterov=False, ns_coeffs=MUON):
    """Algorithm 1 of Li et al. on the transposed matrix, whose rows are the neurons."""
    m = np.zeros(gs.shape[1:]).T
    v, updates = np.zeros(len(m)), []
    for g in gs:
        m = b1 * m + (1 - b1) * g.T
        x = b1 * m + (1 - b1) * g.T if nesterov else m
        x = x / np.sqrt((x**2).sum())
        for a, b, c in polynomials("test", ns_coeffs, ns_steps):
            x = a * x + b * (x @ x.T) @ x + c * (x @ x.T) @ (x @ x.T) @ x
        v = b2 * v + (1 - b2) * (x**2).mean(axis=1)
        normed = x / (np.sqrt(v)[:, None] + eps)
        updates.append(0.2 * np.sqrt(m.size) / np.sqrt((normed**2).sum()) * normed.T)
    return {"updates": np.stack(updates), "mu": m.T, "nu": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """The iteration multiplies small singular values, and their rounding, by up to 500, see Muon."""
    twin, tx = by_leaf(paper, recorded_matrices.grads, **options), oc.scale_by_normuon(**options)
    exact, ours = run_float64(tx, recorded_matrices), run(tx, recorded_matrices, RATE)
    assert_agree(exact.state["nu"], twin["nu"], 1e-9)
    assert_agree(exact.updates, twin["updates"], 1e-8)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], 1e-3)
    assert_agree(ours.params, moved(recorded_matrices.params, twin["updates"], RATE), 5e-4)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer_but_for_its_bfloat16(recorded_matrices, monkeypatch):
    """Its neurons are rows: it is given the transposed matrices."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    library = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    module = importlib.import_module("pytorch_optimizer.optimizer.muon.normuon")
    wide = functools.partial(module.zero_power_via_newton_schulz_5, dtype=torch.float64)
    monkeypatch.setattr(module, "zero_power_via_newton_schulz_5", wide)
    turned = type(recorded_matrices)(
        *(jax.tree.map(lambda x: jnp.swapaxes(x, -1, -2), tree) for tree in recorded_matrices)
    )

    def make(params):
        group = {"params": params, "use_muon": True, "lr": -RATE, "momentum": 0.95, "beta2": 0.95, "eps": 1e-12}
        return library.NorMuon(
            [group | {"nesterov": False, "weight_decay": 0.0, "update_scale": "match_rms", "foreach": False}]
        )

    params, slots = run_torch(make, turned)
    ours = run_float64(oc.scale_by_normuon(eps=1e-12), recorded_matrices, RATE)
    assert_agree(ours.params, jax.tree.map(np.transpose, params), 1e-4)
    assert_agree(ours.state["mu"], jax.tree.map(np.transpose, slots["momentum_buffer"]), 1e-6)


@pytest.mark.parametrize("seed", range(2))
def test_on_a_constant_gradient_all_neurons_get_the_size_of_adamw(seed):
    u = np.asarray(run(oc.scale_by_normuon(mask="w"), repeated(seed)).updates["w"])
    np.testing.assert_allclose(np.sqrt((u**2).mean(axis=1)), 0.2, rtol=1e-4)
