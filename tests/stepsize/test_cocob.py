import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree
from recorded_gradients import blank, drawn, scaled
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64

import optchain as oc

OPTIONS = [{}, {"alpha": 10.0, "eps": 1e-3}]


def paper(gs, p, alpha=100.0, eps=1e-8):
    """Algorithm 2 of Orabona and Tommasi, whose gradients have the other sign; L begins at eps."""
    largest, size, reward, theta = np.full_like(p, eps), np.zeros_like(p), np.zeros_like(p), np.zeros_like(p)
    x, updates = p, []
    for gradient in gs:
        g = -gradient(x)
        largest, size = np.maximum(largest, np.abs(g)), size + np.abs(g)
        reward = np.maximum(reward + (x - p) * g, 0)
        theta = theta + g
        new = p + theta / (largest * np.maximum(size + largest, alpha * largest)) * (largest + reward)
        updates.append(new - x)
        x = new
    return {"updates": np.stack(updates), "largest": largest, "size": size, "reward": reward, "theta": theta, "x": x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    exact, found = (way(oc.scale_by_cocob(**options), entries) for way in (run_float64, run))
    for name in ("largest", "size", "reward", "theta"):
        assert_agree(exact.state[name], twin[name], 1e-11)
        # The spring's pull on the head's rarest bytes is a difference p - p0, whose rounding makes 7.3e-5 of `size`.
        assert_agree(found.state[name], twin[name], 25 * SLOTS)
    assert_agree(exact.params, twin["x"], 1e-11)
    assert_agree(found.params, twin["x"], PARAMS)
    assert_agree(found.state["start"], entries.params, 0)


def test_agrees_with_optax(entries):
    options = {"learning_rate": 0.3, "alpha": 50.0, "weight_decay": 0.1}
    ours = run_float64(oc.cocob(**options), entries)
    theirs = run_float64(optax.contrib.cocob(**options), entries, promotion="standard")
    assert_agree(ours.params, theirs.params, 1e-11)


def test_rests_where_there_never_was_a_gradient(entries):
    found, rested = run(oc.cocob(eps=0.0), entries).params, blank(entries)
    assert any(jax.tree.leaves(jax.tree.map(np.any, rested)))
    jax.tree.map(lambda x, p, b: np.testing.assert_array_equal(x[b], p[b]), found, entries.params, rested)


@pytest.mark.parametrize("size", [1e-25, 1e15])
def test_the_first_step_is_one_over_alpha_whatever_the_units(size):
    p, tx = jnp.zeros(2), oc.scale_by_cocob(eps=0.0)
    updates, _ = tx.update(jnp.array([size, -size]), tx.init(p), p)
    np.testing.assert_allclose(updates, [-0.01, 0.01], rtol=1e-6)


def test_forgets_the_units_of_the_gradient():
    given = drawn(0)

    def moved(given):
        tx, p = oc.scale_by_cocob(eps=0.0), given.params
        state = tx.init(p)
        for t in range(5):
            u, state = tx.update(jax.tree.map(lambda g, t=t: g[t], given.grads), state, p)
            p = jax.tree.map(jnp.add, p, u)
        return p

    chex.assert_trees_all_equal(moved(given), moved(scaled(given, 2.0**10)))
