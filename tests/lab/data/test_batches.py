import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optchain.lab.data.batches import balanced_batches, batches

KEY = jax.random.key(3)


def test_each_epoch_is_a_permutation_of_its_own():
    stream = np.asarray(batches(KEY, jnp.int32(0), steps=25, batch=4, size=20)).reshape(5, 20)
    assert all(sorted(epoch) == list(range(20)) for epoch in stream)
    assert len({tuple(epoch) for epoch in stream}) == 5


@pytest.mark.full
@settings(max_examples=15, deadline=None)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 12), st.integers(1, 30))
def test_a_batch_depends_on_key_and_step_only(step, steps, batch, size):
    chunk = batches(KEY, jnp.int32(step * batch), steps, batch, size)
    assert chunk.shape == (steps, batch)
    single = [batches(KEY, jnp.int32((step + i) * batch), 1, batch, size)[0] for i in range(steps)]
    chex.assert_trees_all_equal(chunk, jnp.stack(single))


@pytest.mark.parametrize("batch, size", [(4, 10), (7, 3), (64, 1437)])
def test_two_calls_are_one_call(batch, size):
    """Also where a batch is longer than an epoch."""
    one = batches(KEY, jnp.int32(5), 30, batch, size)
    two = [batches(KEY, jnp.int32(5 + batch * start), steps, batch, size) for start, steps in ((0, 11), (11, 19))]
    chex.assert_trees_all_equal(one, jnp.concatenate(two))


def test_batches_of_all_sizes_are_cut_from_the_same_stream():
    stream = batches(KEY, jnp.int32(0), 1, 60, 10)[0]
    for batch in (1, 4, 15):
        chex.assert_trees_all_equal(batches(KEY, jnp.int32(0), 60 // batch, batch, 10).reshape(-1), stream)


def test_lanes_see_what_each_run_sees_alone():
    keys, seen = jax.random.split(KEY, 3), jnp.asarray([0, 90, 2000])
    together = jax.vmap(lambda key, seen: batches(key, seen, 5, 4, 97))(keys, seen)
    chex.assert_trees_all_equal(together, jnp.stack([batches(keys[i], seen[i], 5, 4, 97) for i in range(3)]))


def test_another_key_gives_other_batches():
    one, other = (batches(jax.random.key(seed), jnp.int32(0), 5, 4, 20) for seed in (0, 1))
    assert not np.array_equal(one, other)


@pytest.mark.full
@settings(max_examples=5, deadline=None)
@given(st.integers(0, 200), st.integers(1, 9), st.integers(1, 12), st.integers(2, 5))
def test_a_balanced_batch_depends_on_key_and_step_only(step, steps, batch, classes):
    targets = jnp.asarray(np.random.default_rng(0).permutation(np.arange(30) % classes))
    chunk = balanced_batches(KEY, jnp.int32(step * batch), steps, batch, targets, classes)
    assert chunk.shape == (steps, batch)
    single = [balanced_batches(KEY, jnp.int32((step + i) * batch), 1, batch, targets, classes)[0] for i in range(steps)]
    chex.assert_trees_all_equal(chunk, jnp.stack(single))


def test_the_classes_take_turns_and_rows_of_a_rare_one_come_again():
    targets = jnp.asarray(np.random.default_rng(1).permutation([0] * 90 + [1] * 7 + [2] * 3))
    rows = np.asarray(balanced_batches(KEY, jnp.int32(50), 200, 10, targets, 3))
    counts = np.stack([np.bincount(targets[row], minlength=3) for row in rows])
    assert (counts.max(1) - counts.min(1) <= 1).all() and np.ptp(counts.sum(0)) <= 1
    for c in range(3):
        drawn = np.bincount(rows[np.asarray(targets)[rows] == c], minlength=100)[np.asarray(targets) == c]
        assert drawn.min() > 0 and drawn.std() < 3 * np.sqrt(drawn.mean())
