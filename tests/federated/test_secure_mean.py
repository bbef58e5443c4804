import jax
import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, updates

import optchain as oc
from optchain.federated.masks import sent, sum_of_sent

DRAW = lambda pair: jax.random.bits(jax.random.fold_in(jax.random.key(0), pair), (50,), jnp.uint32)  # noqa: E731


@pytest.mark.parametrize("present", [[1, 1, 1, 1, 1], [1, 0, 1, 1, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]], ids=str)
def test_masks_cancel_bit_for_bit_also_with_drop_outs(present):
    """The sum is that of whole numbers modulo 2^32, which wraps around here."""
    present = np.array(present, bool)
    numbers = np.random.default_rng(0).integers(0, 2**32, (5, 50), dtype=np.uint32)
    found = sum_of_sent(DRAW, sent(DRAW, jnp.asarray(numbers)), jnp.asarray(present))
    expected = numbers[present].astype(object).sum(0) % 2**32 if present.any() else np.zeros(50, object)
    np.testing.assert_array_equal(np.asarray(found).astype(object), expected)


def test_masks_are_those_of_the_protocol():
    """Each client adds its own mask and those shared with clients after it, and subtracts those shared with others."""
    found = sent(DRAW, jnp.zeros((4, 50), jnp.uint32))
    for k in range(4):
        expected = np.asarray(DRAW(4 * k + k)).astype(object)
        for i in range(4):
            mask = np.asarray(DRAW(4 * min(i, k) + max(i, k))).astype(object)
            expected = expected + (mask if i > k else -mask if i < k else 0)
        np.testing.assert_array_equal(np.asarray(found[k]).astype(object), expected % 2**32)


def test_what_a_client_sends_says_nothing_of_its_numbers():
    """The same numbers of all clients, sent by each, are spread evenly over all whole numbers."""
    draw = lambda pair: jax.random.bits(jax.random.fold_in(jax.random.key(1), pair), (20_000,), jnp.uint32)  # noqa: E731
    messages = np.asarray(sent(draw, jnp.full((3, 20_000), 7, jnp.uint32)))
    for message in messages:
        counts = np.histogram(message, 16, (0, 2**32))[0]
        assert ((counts - 1250) ** 2 / 1250).sum() < 45  # chi squared with 15 degrees: 1e-4
    assert abs(np.corrcoef(messages.astype(np.float64))[np.triu_indices(3, 1)]).max() < 0.03


def test_it_is_the_weighted_mean_to_its_rounding():
    weights, grads = np.array([3.0, 1.0, 0.0, 5.0]), gradients(2, 4)
    largest = np.abs(as_vectors(grads)).max()
    (found,), state = updates(oc.chain(combine=oc.client_secure_mean(largest)), [grads], weights=[weights])
    np.testing.assert_allclose(found, weights @ as_vectors(grads) / 9, rtol=0, atol=4 * largest * 4 / 2**30)
    assert oc.metrics(state)["combine.clipped"] == 0


def test_entries_beyond_the_bound_are_clipped_and_counted():
    p = jnp.zeros(4)
    tx = oc.chain(combine=oc.client_secure_mean(2.0))
    values = jnp.array([[1.0, -3.0, jnp.inf, jnp.nan], [1.0, 1.0, 1.0, 1.0], [9.0, 9.0, 9.0, 9.0]])
    u, state = tx.update(values, tx.init(p), p, client_weights=jnp.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(u, [1.0, -0.5, 1.5, 0.5], atol=1e-7)
    np.testing.assert_allclose(oc.metrics(state)["combine.clipped"], 2 / 8)
