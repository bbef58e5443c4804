import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc


@pytest.mark.parametrize("trim, clients, out", [(0.0, 5, 0), (0.1, 10, 1), (0.3, 10, 3), (0.2, 9, 1), (0.49, 3, 1)])
def test_it_is_the_mean_of_what_is_left(trim, clients, out):
    grads = gradients(clients, clients)
    found, _ = updates(oc.client_trimmed_mean(trim), [grads], weights=[np.ones(clients)])
    left = np.sort(as_vectors(grads), axis=0)[out : clients - out]
    np.testing.assert_allclose(found[0], left.mean(0), rtol=1e-12, atol=1e-15)


def test_bad_clients_are_left_out_as_long_as_they_are_as_few_as_it_leaves_out():
    p, tx = jnp.zeros(1), oc.client_trimmed_mean(0.25)
    values = jnp.array([[1.0], [2.0], [3.0], [4.0], [jnp.nan], [-1e30], [jnp.inf], [-jnp.inf]])
    u, _ = tx.update(values, tx.init(p), p, client_weights=None)
    np.testing.assert_allclose(u, [2.5])


@pytest.mark.parametrize("trim", [0.5, -0.1])
def test_a_part_that_leaves_nobody_is_refused(trim):
    with pytest.raises(ValueError, match=r"client_trimmed_mean: trim must lie in \[0, 0.5\)"):
        oc.client_trimmed_mean(trim)
