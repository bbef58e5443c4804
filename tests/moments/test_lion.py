import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import blank, drawn, repeated, scaled
from tiers import one_of_each
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE = -0.001
OPTIONS = [{}, {"b1": 0.95, "b2": 0.98}, {"b1": 0.0, "b2": 0.5}]


def paper(gs, b1=0.9, b2=0.99):
    """Algorithm 2 of Chen et al. without its decay; `c` is what the sign is taken of."""
    m, updates, cs = np.zeros(gs.shape[1:]), [], []
    for g in gs:
        c = b1 * m + (1 - b1) * g
        m = b2 * m + (1 - b2) * g
        updates.append(np.sign(c))
        cs.append(c)
    return {"updates": np.stack(updates), "mu": m, "c": np.stack(cs)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_lion(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_only_ties_flip(ours.updates, twin)
    assert_agree(ours.params, moved(entries.params, ours.updates, RATE), PARAMS)


def assert_only_ties_flip(updates, twin):
    """A sign may differ only where its argument is 0 within rounding, and that is rare."""
    us, vs, cs = (jax.tree.leaves(x) for x in (updates, twin["updates"], twin["c"]))
    for u, v, c in zip(us, vs, cs, strict=True):
        flipped = np.asarray(u) != v
        assert np.mean(flipped) < 1e-4
        assert np.all(np.abs(c[flipped]) <= 1e-6 * np.max(np.abs(c)))


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_lion(**options), entries, RATE)
    twin = run_twin(optax.scale_by_lion(**options), entries, RATE)
    assert_agree(ours.state["mu"], twin.state.mu, SLOTS)
    assert_only_ties_flip(ours.updates, {"updates": twin.updates, "c": by_leaf(paper, entries.grads, **options)["c"]})


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_agrees_with_pytorch_optimizer(entries, options):
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    betas = options.get("b1", 0.9), options.get("b2", 0.99)
    params, slots = run_torch(lambda p: other.Lion(p, lr=-RATE, betas=betas), entries)
    ours = run_float64(oc.scale_by_lion(**options), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 1e-12)
    assert_agree(ours.params, params, 1e-12)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_lion(**options), entries), by_leaf(paper, entries.grads, **options)
    assert ours.state["mu"]["digits"]["out"]["kernel"].dtype == np.float64
    assert_agree(ours.state["mu"], twin["mu"], 1e-12)
    chex.assert_trees_all_equal(ours.updates, twin["updates"])


@pytest.mark.parametrize("seed", range(3))
def test_follows_the_sign_of_a_constant_gradient(seed):
    given = repeated(seed)
    chex.assert_trees_all_equal(run(oc.scale_by_lion(), given).updates, jax.tree.map(jnp.sign, given.grads))


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [2.0**10, 2.0**-10])
def test_forgets_the_units_of_the_gradient(seed, factor):
    tx, given = oc.scale_by_lion(), drawn(seed)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, factor)).updates)


def test_rests_where_there_never_was_a_gradient(entries):
    updates, rested = vector(run(oc.scale_by_lion(), entries).updates, 1), vector(blank(entries)) == 1
    assert rested.any() and np.all(updates[:, rested] == 0) and np.all(np.isin(updates, (-1, 0, 1)))
