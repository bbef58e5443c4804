import chex
import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn, scaled
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [
    {"learning_rate": 1e-3},
    {"learning_rate": 0.01, "eta_minus": 0.9, "eta_plus": 1.05, "min_step_size": 1e-3, "max_step_size": 0.02},
]


def paper(gs, learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    """Algorithm 4 (iRprop-) of Igel and Huesken, entry by entry."""
    steps, updates = np.full(gs[0].size, learning_rate), np.zeros((len(gs), gs[0].size))
    for j in range(gs[0].size):
        last = 0.0
        for i, g in enumerate(gs.reshape(len(gs), -1)[:, j]):
            if g * last > 0:
                steps[j] = min(steps[j] * eta_plus, max_step_size)
            elif g * last < 0:
                steps[j] = max(steps[j] * eta_minus, min_step_size)
                g = 0.0
            updates[i, j] = np.sign(g) * steps[j]
            last = g
    return {"updates": updates.reshape(gs.shape), "step_size": steps.reshape(gs.shape[1:])}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_rprop(**options), entries, -1.0), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["step_size"], twin["step_size"], 2e-5)  # a product of many rounded factors
    assert_agree(ours.params, moved(entries.params, twin["updates"], -1.0), PARAMS)
    exact = run_float64(oc.scale_by_rprop(**options), entries)
    assert_agree(exact.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax_which_is_late(entries, options):
    """Slots are the same; but where the sign has not changed optax returns the update before this one."""
    ours, twin = run(oc.scale_by_rprop(**options), entries), run_twin(optax.scale_by_rprop(**options), entries)
    assert_agree(ours.state["step_size"], twin.state.step_sizes, SLOTS)
    assert_agree(ours.state["last"], twin.state.prev_updates, SLOTS)
    for own, late in zip(jax.tree.leaves(ours.updates), jax.tree.leaves(twin.updates), strict=True):
        own, late = np.asarray(own), np.asarray(late)
        assert np.all(late[0] == 0) and np.any(own[0] != 0)
        np.testing.assert_allclose(late[1:], np.where(late[1:] == 0, 0, own[:-1]), rtol=1e-6)
        assert np.any(late[1:] != 0)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.Rprop(p, lr=1e-3), entries)
    ours = run_float64(oc.scale_by_rprop(1e-3), entries, -1.0)
    assert_agree(ours.state["step_size"], slots["step_size"], 1e-11)
    assert_agree(ours.params, params, 1e-11)


@pytest.mark.parametrize("factor", [1e-30, 1e15])
def test_forgets_the_units_of_the_gradient(factor):
    """Only signs count, even where the product of two gradients would be 0 or infinite."""
    tx, given = oc.scale_by_rprop(0.01), drawn(0)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, factor)).updates)
