import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc


@pytest.mark.parametrize("clients", [1, 2, 5, 8])
def test_it_is_the_median_of_each_entry(clients):
    grads = gradients(clients, clients)
    found, _ = updates(oc.client_median(), [grads], weights=[np.arange(clients) + 1])
    np.testing.assert_allclose(found[0], np.median(as_vectors(grads), axis=0), rtol=1e-12)


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, -jnp.inf, 1e30])
def test_a_minority_cannot_move_it_beyond_the_others(bad):
    p = jnp.zeros(2)
    good = jnp.array([[1.0, 5.0], [2.0, 4.0], [3.0, 6.0]])
    tx = oc.client_median()
    u, _ = tx.update(jnp.concatenate([good, jnp.full((2, 2), bad)]), tx.init(p), p, client_weights=None)
    assert ((u >= good.min(0)) & (u <= good.max(0))).all()
