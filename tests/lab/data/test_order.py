import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.lab.data.order import rows, seed_of

SEED = np.uint32(7)
SIZES = [1, 2, 3, 10, 97, 1437, 65536, 65537]


def chi_squared(counts, expected):
    return ((counts - expected) ** 2 / expected).sum()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.full
def test_each_epoch_is_a_permutation_the_same_in_numpy_and_jax(size):
    host = rows(SEED, 0, 2 * size, size, np)
    assert host.dtype == np.int32
    np.testing.assert_array_equal(np.sort(host.reshape(2, size), axis=1), [np.arange(size)] * 2)
    device = rows(jnp.uint32(SEED), jnp.int32(0), 2 * size, size, jnp)
    assert device.dtype == jnp.int32
    np.testing.assert_array_equal(host, device)


def test_epochs_and_seeds_differ():
    orders = [rows(np.uint32(seed), 97 * epoch, 97, 97, np) for seed in (0, 1, 2**32 - 1) for epoch in range(20)]
    assert len({tuple(order) for order in orders}) == 60


@pytest.mark.parametrize("first", [0, 96, 97, 2**31 - 5])
def test_a_row_depends_on_its_position_only(first):
    """Also across the end of an epoch, and beyond what an int32 holds."""
    whole = rows(SEED, first, 200, 97, np)
    np.testing.assert_array_equal(whole, [rows(SEED, first + i, 1, 97, np)[0] for i in range(200)])
    np.testing.assert_array_equal(whole, jax.jit(lambda first: rows(SEED, first, 200, 97, jnp))(jnp.int32(first)))


def test_seeds_under_vmap_are_what_each_is_alone():
    keys = jax.random.split(jax.random.key(3), 5)
    together = jax.vmap(lambda key: rows(seed_of(key), jnp.int32(1400), 64, 1437, jnp))(keys)
    for key, found in zip(keys, together, strict=True):
        np.testing.assert_array_equal(rows(np.uint32(seed_of(key)), 1400, 64, 1437, np), found)


def test_each_row_is_as_likely_at_each_place_and_after_each_other():
    """Chi squared, over many epochs: its mean is the degrees of freedom f, its standard deviation the root of 2 f."""
    size, epochs = 12, 20_000
    orders = rows(np.uint32(1), 0, epochs * size, size, np).reshape(epochs, size)

    places, free = np.zeros((size, size)), (size - 1) ** 2
    np.add.at(places, (np.arange(size), orders), 1)
    assert abs(chi_squared(places, epochs / size) - free) < 4 * np.sqrt(2 * free)

    pairs, free = np.zeros((size, size)), size * (size - 1) - 1
    np.add.at(pairs, (orders[:, 0], orders[:, 1]), 1)
    others = pairs[~np.eye(size, dtype=bool)]
    assert abs(chi_squared(others, epochs / len(others)) - free) < 4 * np.sqrt(2 * free)

    following = np.zeros((size, size))  # the first rows of an epoch and of the next
    np.add.at(following, (orders[:-1, 0], orders[1:, 0]), 1)
    free = size**2 - 1
    assert abs(chi_squared(following, (epochs - 1) / size**2) - free) < 4 * np.sqrt(2 * free)


def test_the_order_of_many_rows_has_no_trend():
    size = 100_000
    order = rows(SEED, 0, size, size, np)
    for one, other in ((order, np.arange(size)), (order[:-1], order[1:]), (order, rows(SEED, size, size, size, np))):
        assert abs(np.corrcoef(one, other)[0, 1]) < 4 / np.sqrt(size)


def test_the_order_of_a_seed_does_not_change():
    """A run resumed by another version sees the examples it would have seen."""
    assert rows(SEED, 0, 20, 10, np).tolist() == [1, 3, 6, 8, 7, 2, 5, 4, 9, 0, 6, 2, 3, 7, 4, 1, 8, 5, 9, 0]


@pytest.mark.parametrize("size", [0, 2**31])
def test_sizes_out_of_range_are_refused(size):
    with pytest.raises(ValueError, match=f"got size = {size}; expected 1 <= size"):
        rows(SEED, 0, 4, size, np)


def test_the_largest_size_has_rows_in_range():
    found = rows(SEED, 2**31 - 100, 200, 2**31 - 1, np)
    assert found.min() >= 0 and len(set(found.tolist())) > 195
    np.testing.assert_array_equal(found, rows(SEED, 2**31 - 100, 200, 2**31 - 1, jnp))
