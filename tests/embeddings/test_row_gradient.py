"""The type of gradients of rows."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optchain as oc


@pytest.mark.full
@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-3, 8), min_size=1, max_size=12))
def test_summed_and_dense_are_the_same_matrix(indices):
    values = np.random.default_rng(0).normal(size=(len(indices), 2, 3)).astype(np.float32)
    rows = oc.RowGradient(jnp.array(indices), jnp.asarray(values), 6)
    wanted = np.zeros((6, 2, 3))
    for i, x in zip(indices, values, strict=True):
        if 0 <= i < 6:
            wanted[i] += x
    summed = rows.summed()
    np.testing.assert_allclose(rows.dense(), wanted, atol=1e-5)
    np.testing.assert_allclose(summed.dense(), wanted, atol=1e-5)
    found = [int(i) for i in summed.indices if i < 6]
    assert found == sorted({i for i in indices if 0 <= i < 6}) and summed.shape == (6, 2, 3)
    assert not np.any(np.asarray(summed.values)[len(found) :])


def test_the_sum_of_two_and_padding():
    a = oc.RowGradient(jnp.array([1, -1]), jnp.ones((2, 2)), 3)
    b = oc.RowGradient(jnp.array([1]), jnp.ones((1, 2)), 3)
    np.testing.assert_array_equal((a + b).dense(), jnp.zeros((3, 2)).at[1].set(2.0))
    np.testing.assert_array_equal(a.padded(5).dense(), a.dense())
    with pytest.raises(ValueError, match=r"their shapes are \(3, 2\) and \(4, 2\)"):
        a + oc.RowGradient(jnp.array([1]), jnp.ones((1, 2)), 4)


def test_narrow_values_are_summed_in_float32():
    rows = oc.RowGradient(jnp.zeros(1000, jnp.int32), jnp.ones((1000, 1), jnp.bfloat16), 3)
    assert rows.summed().values[0, 0] == 1000 and rows.dtype == jnp.bfloat16


def test_it_passes_through_transformations():
    def one(i):
        return oc.RowGradient(i[None], jnp.ones((1, 2)), 5)

    together = jax.vmap(one)(jnp.arange(3))
    assert together.indices.shape == (3, 1) and together.num_rows == 5
    _, scanned = jax.lax.scan(lambda c, i: (c, one(i)), None, jnp.arange(3))
    chex.assert_trees_all_equal(scanned, together)
    same = jax.jit(lambda x: jax.lax.cond(True, lambda: x, lambda: jax.tree.map(jnp.zeros_like, x)))(one(jnp.array(2)))
    chex.assert_trees_all_equal(same, one(jnp.array(2)))


def test_a_table_with_more_rows_than_fit_beside_the_places_in_one_number():
    indices = jnp.array([2**30, 7, 2**30, 2**31 - 1])
    summed = oc.RowGradient(indices, jnp.ones((4, 1)), 2**31 - 1).summed()
    assert summed.indices.tolist() == [7, 2**30, 2**31 - 1, 2**31 - 1]
    assert summed.values[:, 0].tolist() == [1, 2, 0, 0]
