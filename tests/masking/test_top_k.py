import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import drawn

import optchain as oc


def top_k(gs, density, error_feedback):
    """Algorithm 1 of Stich et al. with top-k, entry by entry."""
    residual, updates = np.zeros(gs.shape[1:]), []
    for g in gs:
        a = residual + g
        order = sorted(range(a.size), key=lambda i: (-abs(a.flat[i]), i))
        u = np.zeros_like(a)
        for i in order[: round(density * a.size)]:
            u.flat[i] = a.flat[i]
        updates.append(u)
        residual = a - u if error_feedback else residual
    return {"updates": np.stack(updates), "residual": residual}


@pytest.mark.parametrize("error_feedback", [True, False])
@pytest.mark.parametrize("density", [0.1, 0.5, 1.0])
def test_agrees_with_numpy(density, error_feedback):
    given = drawn(3, 12)
    ours = run(oc.keep_top_k(density, error_feedback), given)
    twin = by_leaf(top_k, given.grads, density=density, error_feedback=error_feedback)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    if error_feedback:
        assert_agree(ours.state["residual"], twin["residual"], SLOTS)
    else:
        assert set(ours.state) == {"count"}


def test_is_exact_in_float64(recorded):
    few = recorded._replace(grads=jax.tree.map(lambda g: g[:30], recorded.grads))
    twin = by_leaf(top_k, few.grads, density=0.05, error_feedback=True)
    assert_agree(run_float64(oc.keep_top_k(0.05), few).updates, twin["updates"], 1e-12)


def test_nothing_is_lost():
    given = drawn(0, 20)
    ours = run(oc.keep_top_k(0.2), given)
    whole = jax.tree.map(lambda u, r: u.sum(0) + r, ours.updates, ours.state["residual"])
    chex.assert_trees_all_close(whole, jax.tree.map(lambda g: g.sum(0), given.grads), rtol=1e-5)


@pytest.mark.parametrize("density", [0.1, 0.25, 0.9])
def test_keeps_as_many_as_it_says_though_all_are_equal(density):
    g, tx = {"w": jnp.ones((10, 10))}, oc.keep_top_k(density)
    u, _ = tx.update(g, tx.init(g))
    assert u["w"].reshape(-1).tolist() == [1.0] * round(100 * density) + [0.0] * (100 - round(100 * density))


def test_layers_keep_as_many_each():
    tx = oc.over_layers(oc.keep_top_k(0.25), "blocks")
    p = {"blocks": jnp.stack([jnp.arange(8.0), 100 * jnp.arange(8.0)])}
    u, _ = tx.update(p, tx.init(p))
    assert (u["blocks"] != 0).sum(1).tolist() == [2, 2]
