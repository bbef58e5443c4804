import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, moved, run, run_float64, run_twin
from recorded_gradients import drawn, scaled

import optchain as oc

RATE = -0.1
BOUNDS = [0.05, 0.5, 1e6]  # clips every recorded gradient, some, none


def paper(grads, max_norm):
    """Algorithm 1 of Pascanu, Mikolov and Bengio at every step: the updates, and the norms before clipping."""
    grads = jax.tree.map(lambda g: np.array(g, np.float64), grads)
    leaves, norms = jax.tree.leaves(grads), []
    for t in range(len(leaves[0])):
        norms.append(np.sqrt(sum(np.sum(g[t] ** 2) for g in leaves)))
        if norms[-1] > max_norm:
            for g in leaves:
                g[t] *= max_norm / norms[-1]
    return grads, np.array(norms)


def norms(updates):
    squares = [np.sum(np.asarray(u, np.float64).reshape(len(u), -1) ** 2, axis=1) for u in jax.tree.leaves(updates)]
    return np.sqrt(sum(squares))


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_the_paper(entries, bound):
    ours, (twin, _) = run(oc.clip_by_global_norm(bound), entries, RATE), paper(entries.grads, bound)
    assert_agree(ours.updates, twin, SLOTS)
    assert_agree(ours.params, moved(entries.params, twin, RATE), PARAMS)


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_optax(entries, bound):
    ours = run(oc.clip_by_global_norm(bound), entries, RATE)
    twin = run_twin(optax.clip_by_global_norm(bound), entries, RATE)
    assert_agree(ours.updates, twin.updates, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_reports_the_norm_and_the_factor(entries):
    _, expected = paper(entries.grads, 1.0)
    bound = float(np.median(expected))
    tx = oc.chain(clip=oc.clip_by_global_norm(bound))
    state = tx.init(entries.params)
    for t in (int(expected.argmin()), int(expected.argmax())):
        _, state = tx.update(jax.tree.map(lambda g, t=t: g[t], entries.grads), state)
        found = oc.metrics(state)
        np.testing.assert_allclose(found["clip.norm"], expected[t], rtol=1e-6)
        np.testing.assert_allclose(found["clip.scale"], min(1, bound / expected[t]), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_bounds_the_norm_and_keeps_the_direction(seed):
    given = drawn(seed)
    bound = float(np.median(norms(given.grads)))
    ours = run(oc.clip_by_global_norm(bound), given)
    assert np.all(norms(ours.updates) <= bound * (1 + 1e-6))
    factors = np.minimum(1, bound / norms(given.grads))
    chex.assert_trees_all_close(
        ours.updates, jax.tree.map(lambda g: g * factors.reshape(-1, *(1,) * (g.ndim - 1)), given.grads), rtol=1e-6
    )


@pytest.mark.parametrize("seed", range(3))
def test_leaves_gradients_within_the_bound_alone(seed):
    given = drawn(seed)
    bound = float(norms(given.grads).max() * 1.001)
    chex.assert_trees_all_equal(run(oc.clip_by_global_norm(bound), given).updates, given.grads)


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_gradients_beyond_the_bound(seed):
    given = drawn(seed)
    tx = oc.clip_by_global_norm(float(norms(given.grads).min() / 2))
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)


def test_passes_zero_gradients_and_empty_trees():
    tx, zeros = oc.clip_by_global_norm(1.0), {"w": jnp.zeros((2, 3)), "none": jnp.zeros((0,))}
    chex.assert_trees_all_equal(tx.update(zeros, tx.init(zeros))[0], zeros)
    assert tx.update({}, tx.init({}))[0] == {}


def test_sums_low_precision_gradients_in_float32():
    """The squares of 2**16 entries of 1/2 sum to 2**14; in bfloat16 the sum would stop growing long before."""
    g, tx = {"w": jnp.full((2**16,), 0.5, jnp.bfloat16)}, oc.clip_by_global_norm(64.0)
    u, _ = tx.update(g, tx.init(g))
    chex.assert_trees_all_equal(u, {"w": jnp.full((2**16,), 0.25, jnp.bfloat16)})


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_shows_a_gradient_that_is_not_finite(bad):
    tx, g = oc.chain(clip=oc.clip_by_global_norm(1.0)), {"w": jnp.array([1.0, bad])}
    u, state = tx.update(g, tx.init(g))
    assert not np.isfinite(oc.metrics(state)["clip.norm"])
    assert np.isnan(u["w"][1])


def test_is_exact_in_float64(entries):
    ours, (twin, _) = run_float64(oc.clip_by_global_norm(0.05), entries), paper(entries.grads, 0.05)
    chex.assert_type(jax.tree.leaves(ours.updates), np.float64)
    assert_agree(ours.updates, twin, 1e-12)
