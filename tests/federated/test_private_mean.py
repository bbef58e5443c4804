import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc


@pytest.mark.parametrize("clients, over", [(None, 5), (12.5, 12.5)])
def test_each_update_is_clipped_as_a_whole(clients, over):
    grads, weights = gradients(3, 6), np.array([1.0, 7.0, 0.0, 2.0, 1.0, 1.0])
    tx = oc.chain(combine=oc.client_private_mean(2.0, 0.0, clients=clients))
    (found,), state = updates(tx, [grads], weights=[weights])
    vectors = as_vectors(grads)[weights > 0]
    norms = np.linalg.norm(vectors, axis=1)
    expected = (vectors * np.minimum(1, 2.0 / norms)[:, None]).sum(0) / over
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_allclose(oc.metrics(state)["combine.clipped"], np.mean(norms > 2.0), rtol=1e-6)


def test_the_noise_has_its_deviation_and_is_that_of_its_key_and_step():
    p = jnp.zeros(40_000)
    tx = oc.client_private_mean(0.5, 3.0, key=5, clients=10)
    zeros, state = jnp.zeros((4, 40_000)), tx.init(p)
    first, state = tx.update(zeros, state, p, client_weights=None)
    second, _ = tx.update(zeros, state, p, client_weights=None)
    for x in (first, second):
        np.testing.assert_allclose(np.std(x), 3.0 * 0.5 / 10, rtol=0.02)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.02
    again, _ = tx.update(zeros, tx.init(p), p, client_weights=None)
    np.testing.assert_array_equal(first, again)


def test_one_client_moves_the_mean_by_no_more_than_its_bound():
    p = {"w": jnp.zeros((3, 4)), "b": jnp.zeros(4)}
    others = {name: jax.random.normal(jax.random.key(1), (8, *x.shape)) for name, x in p.items()}
    tx = oc.client_private_mean(0.7, 1.0, key=2, clients=8)
    with_it, without = (
        tx.update(others, tx.init(p), p, client_weights=jnp.ones(8).at[3].set(there))[0] for there in (1.0, 0.0)
    )
    apart = jax.tree.map(jnp.subtract, with_it, without)
    np.testing.assert_allclose(optax.tree.norm(apart), 0.7 / 8, rtol=1e-4)


@pytest.mark.parametrize("clients", [0, -1.0, True, "ten"])
def test_a_number_of_clients_that_is_none_is_refused(clients):
    with pytest.raises(ValueError, match="client_private_mean: clients must be a number > 0 or None, got"):
        oc.client_private_mean(1.0, 1.0, clients=clients)
