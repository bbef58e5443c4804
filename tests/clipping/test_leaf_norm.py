import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import drawn, scaled

import optchain as oc

RATE = -0.1
BOUNDS = [0.01, 0.2, 1e6]  # clips every recorded gradient, some, none


def paper(gs, max_norm):
    """Algorithm 1 of Pascanu, Mikolov and Bengio for one leaf at every step."""
    updates = []
    for g in gs:
        n = np.sqrt(np.sum(g**2))
        updates.append(g * max_norm / n if n > max_norm else g)
    return {"updates": np.stack(updates)}


def norms(u):
    return np.sqrt(np.sum(np.asarray(u, np.float64).reshape(len(u), -1) ** 2, axis=1))


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_the_paper_on_each_leaf(recorded, bound):
    ours = run(oc.clip_by_leaf_norm(bound), recorded, RATE)
    twin = by_leaf(paper, recorded.grads, max_norm=bound)["updates"]
    assert_agree(ours.updates, twin, SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin, RATE), PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch_on_each_leaf(recorded):
    """torch adds 1e-6 to the norm."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    ours = run(oc.clip_by_leaf_norm(0.2), recorded).updates

    def clipped(gs):
        theirs = torch.tensor(gs)
        for g in theirs:
            p = torch.zeros_like(g)
            p.grad = g
            torch.nn.utils.clip_grad_norm_([p], 0.2)
        return {"updates": theirs.numpy()}

    assert_agree(ours, by_leaf(clipped, recorded.grads)["updates"], 1e-5)


@pytest.mark.parametrize("bound", BOUNDS)
def test_is_exact_in_float64(recorded, bound):
    ours = run_float64(oc.clip_by_leaf_norm(bound), recorded)
    assert_agree(ours.updates, by_leaf(paper, recorded.grads, max_norm=bound)["updates"], 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_each_norm_and_keeps_each_direction(seed):
    given = drawn(seed)
    bound = float(np.median(norms(given.grads["w"])))
    ours = run(oc.clip_by_leaf_norm(bound), given).updates
    for u, g in zip(jax.tree.leaves(ours), jax.tree.leaves(given.grads), strict=True):
        assert np.all(norms(u) <= bound * (1 + 1e-6))
        factors = np.minimum(1, bound / norms(g)).reshape(-1, *(1,) * (g.ndim - 1))
        chex.assert_trees_all_close(u, jnp.asarray(g * factors, jnp.float32), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_leaves_gradients_within_the_bound_alone(seed):
    given = drawn(seed)
    bound = float(max(norms(g).max() for g in given.grads.values()) * 1.001)
    chex.assert_trees_all_equal(run(oc.clip_by_leaf_norm(bound), given).updates, given.grads)


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_gradients_beyond_the_bound(seed):
    given = drawn(seed)
    tx = oc.clip_by_leaf_norm(float(min(norms(g).min() for g in given.grads.values()) / 2))
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)


def test_spoils_only_the_leaf_that_is_not_finite():
    g, tx = {"bad": jnp.array([1.0, np.nan]), "good": jnp.array([3.0, 4.0])}, oc.clip_by_leaf_norm(1.0)
    u, _ = tx.update(g, tx.init(g))
    assert np.all(np.isnan(u["bad"]))
    chex.assert_trees_all_close(u["good"], jnp.array([0.6, 0.8]), rtol=1e-6)


def test_passes_zero_and_empty_leaves():
    tx, zeros = oc.clip_by_leaf_norm(1.0), {"w": jnp.zeros((2, 3)), "none": jnp.zeros((0,))}
    chex.assert_trees_all_equal(tx.update(zeros, tx.init(zeros))[0], zeros)
