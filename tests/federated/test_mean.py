import jax
import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, params, updates

import optchain as oc

COMBINERS = {
    "client_mean": oc.client_mean,
    "client_median": oc.client_median,
    "client_trimmed_mean": oc.client_trimmed_mean,
    "krum": lambda: oc.krum(byzantine=1),
    "client_private_mean": lambda: oc.client_private_mean(1.0, 0.0),
    "client_secure_mean": oc.client_secure_mean,
}
each_combiner = pytest.mark.parametrize("name", COMBINERS)
WEIGHTS = [3.0, 0.0, 5.0, 1.0, 2.0, 0.0, 4.0]


def test_the_mean_is_weighted_by_the_numbers_of_examples():
    grads = [gradients(seed, 7) for seed in range(3)]
    vectors = np.stack([as_vectors(g) for g in grads])
    found, _ = updates(oc.client_mean(), grads, weights=[WEIGHTS] * 3)
    np.testing.assert_allclose(found, np.einsum("k,skd->sd", WEIGHTS, vectors) / 15, rtol=1e-12)
    found, _ = updates(oc.client_mean(weighted=False), grads, weights=[WEIGHTS] * 3)
    np.testing.assert_allclose(found, vectors[:, np.array(WEIGHTS) > 0].mean(1), rtol=1e-12)


@each_combiner
def test_clients_that_have_dropped_out_are_as_if_they_had_never_been(name):
    """Whatever their updates hold."""
    grads, there = gradients(4, 7), np.array(WEIGHTS) > 0
    without = jax.tree.map(lambda x: x[there], grads)
    bad = jax.tree.map(
        lambda x: x.at[~there].set(jnp.array([jnp.nan, jnp.inf]).reshape(2, *(1,) * (x.ndim - 1))), grads
    )
    tx = oc.chain(combine=COMBINERS[name]())
    expected, _ = updates(tx, [without], weights=[np.array(WEIGHTS)[there]])
    found, state = updates(tx, [bad], weights=[WEIGHTS])
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8)
    assert float(oc.metrics(state)["combine.clients"]) == 5
    nobody, _ = updates(tx, [bad], weights=[np.zeros(7)])
    assert (nobody == 0).all()


@each_combiner
def test_weights_and_updates_that_do_not_fit_are_refused_by_name(name):
    tx = oc.chain(combine=COMBINERS[name](), lr=oc.scale(1.0))
    grads, state = gradients(0, 6), tx.init(params())
    with pytest.raises(
        ValueError, match=rf"{name}: `client_weights` has the shape \(5,\), expected one for each of the 6"
    ):
        tx.update(grads, state, params(), client_weights=jnp.ones(5))
    with pytest.raises(ValueError, match=f"{name} needs the extra argument `client_weights`, what each client counts"):
        tx.update(grads, state, params())
    short = grads | {"bias": grads["bias"][:4]}
    with pytest.raises(ValueError, match=f"{name}: the leaves have 4 and 6 clients, expected as many in each"):
        tx.update(short, state, params(), client_weights=None)


def test_what_a_mask_leaves_out_is_averaged_by_the_weights():
    tx = oc.client_median(mask="kernel")
    grads = gradients(1, 7)
    new, _ = tx.update(grads, tx.init(params()), params(), client_weights=jnp.array(WEIGHTS))
    there = np.array(WEIGHTS) > 0
    np.testing.assert_allclose(new["kernel"], np.median(np.asarray(grads["kernel"])[there], axis=0), rtol=1e-6)
    expected = np.tensordot(np.array(WEIGHTS) / 15, np.asarray(grads["bias"], np.float64), 1)
    np.testing.assert_allclose(new["bias"], expected, rtol=1e-5)


def test_without_weights_all_count_the_same():
    grads = gradients(1, 7)
    tx, state = oc.client_mean(), oc.client_mean().init(params())
    new, _ = tx.update(grads, state, params(), client_weights=None)
    np.testing.assert_allclose(new["kernel"], np.asarray(grads["kernel"], np.float64).mean(0), rtol=1e-5)
