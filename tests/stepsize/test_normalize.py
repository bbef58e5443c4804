"""Normalized updates: of all leaves together, and of each."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import scaled
from tiers import one_of_each

import optchain as oc

OPTIONS = [{}, {"scale_factor": 0.3, "eps": 1e-2}, {"eps": 0.0}]


def by_leaf_norm(gs, scale_factor=1.0, eps=1e-6):
    return {"updates": np.stack([scale_factor * g / (np.sqrt(np.sum(g**2)) + eps) for g in gs])}


def by_norm_of_all(grads, scale_factor=1.0, eps=1e-6):
    leaves = [np.asarray(g, np.float64) for g in jax.tree.leaves(grads)]
    norms = [np.sqrt(sum(np.sum(g[t] ** 2) for g in leaves)) for t in range(len(leaves[0]))]
    factors = scale_factor / (np.array(norms) + eps)
    return jax.tree.unflatten(
        jax.tree.structure(grads), [g * factors.reshape(-1, *(1,) * (g.ndim - 1)) for g in leaves]
    )


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_of_each_leaf_agrees_with_the_definition(recorded, options):
    tx, twin = oc.normalize_by_leaf_norm(**options), by_leaf(by_leaf_norm, recorded.grads, **options)["updates"]
    ours = run(tx, recorded, -0.1)
    assert_agree(ours.updates, twin, SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin, -0.1), PARAMS)
    assert_agree(run_float64(tx, recorded).updates, twin, 1e-12)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_of_all_agrees_with_the_definition_and_optax(entries, options):
    tx, twin = oc.normalize_by_update_norm(**options), by_norm_of_all(entries.grads, **options)
    assert_agree(run(tx, entries).updates, twin, SLOTS)
    assert_agree(run_float64(tx, entries).updates, twin, 1e-12)
    assert_agree(run_twin(optax.normalize_by_update_norm(**options), entries).updates, twin, SLOTS)


@pytest.mark.parametrize("make", [oc.normalize_by_leaf_norm, oc.normalize_by_update_norm])
def test_without_eps_the_units_of_the_gradient_do_not_matter(recorded, make):
    tx = make(eps=0.0)
    assert_agree(run(tx, scaled(recorded, 2.0**20)).updates, run(tx, recorded).updates, 1e-6)


@pytest.mark.parametrize("make", [oc.normalize_by_leaf_norm, oc.normalize_by_update_norm])
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_zero_stays_zero_and_a_nan_is_seen(make, eps):
    tx, zeros = oc.chain(n=make(eps=eps)), {"w": jnp.zeros(3)}
    np.testing.assert_array_equal(tx.update(zeros, tx.init(zeros))[0]["w"], 0)
    assert np.all(np.isnan(tx.update({"w": jnp.array([1.0, np.nan, 2.0])}, tx.init(zeros))[0]["w"]))


def test_shows_the_norm_of_all():
    tx, g = oc.chain(n=oc.normalize_by_update_norm()), {"a": jnp.array([3.0]), "b": jnp.array([4.0])}
    assert float(oc.metrics(tx.update(g, tx.init(g))[1])["n.norm"]) == 5.0
