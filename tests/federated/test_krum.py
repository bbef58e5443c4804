import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc


def oracle(vectors, byzantine, keep):
    """The mean of the updates of least scores, in plain loops."""
    scores = []
    for k, own in enumerate(vectors):
        squares = sorted(((own - other) ** 2).sum() for i, other in enumerate(vectors) if i != k)
        scores.append(sum(squares[: max(len(vectors) - byzantine - 2, 1)]))
    return vectors[np.argsort(scores)[:keep]].mean(0)


@pytest.mark.parametrize("byzantine, keep, clients", [(0, 1, 3), (1, 1, 5), (2, 3, 9), (3, 5, 12)])
def test_it_is_the_nearest_to_its_neighbours(byzantine, keep, clients):
    grads = [gradients(seed, clients) for seed in range(4)]
    found, _ = updates(oc.krum(byzantine, keep=keep), grads, weights=np.ones((4, clients)))
    expected = [oracle(as_vectors(g), byzantine, keep) for g in grads]
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_numbers_by_hand():
    """Of 0, 1, 3, 10, 11, 12, 13 with f = 1 each has four neighbours: the sums of squares are 210, 183, ... of 3 and of
    10 to 13 131, 59, 69, 86 and 114."""
    p, tx = jnp.zeros(()), oc.krum(1)
    values = jnp.array([0.0, 1.0, 3.0, 10.0, 11.0, 12.0, 13.0])
    u, _ = tx.update(values, tx.init(p), p, client_weights=None)
    assert u == 10.0
    pair, _ = oc.krum(1, keep=2).update(values, tx.init(p), p, client_weights=None)
    assert pair == 10.5


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf, 3e38, 1e25])
@pytest.mark.parametrize("size", [1e-20, 1.0, 1e20])
def test_bad_clients_are_not_chosen_at_any_scale(bad, size):
    p, tx = jnp.zeros(2), oc.krum(2)
    good = size * jnp.array([[1.0, 5.0], [1.5, 4.5], [2.0, 5.0], [1.4, 4.9], [9.0, -9.0]])
    u, _ = tx.update(jnp.concatenate([jnp.full((2, 2), bad), good]), tx.init(p), p, client_weights=None)
    np.testing.assert_array_equal(u, good[3])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: oc.krum(2), "krum: got 6 clients with byzantine = 2; expected at least 7, or byzantine of at most 1"),
        (lambda: oc.krum(1, keep=6), "krum: got keep = 6 of 6 clients with byzantine = 1; expected keep of at most 5"),
        (lambda: oc.krum(-1), "krum: byzantine must be a whole number of at least 0, got -1"),
        (lambda: oc.krum(1, keep=0), "krum: keep must be a whole number of at least 1, got 0"),
    ],
)
def test_too_few_clients_are_refused(make, message):
    p = jnp.zeros(2)
    with pytest.raises(ValueError, match=message):
        tx = make()
        tx.update(jnp.ones((6, 2)), tx.init(p), p, client_weights=None)
