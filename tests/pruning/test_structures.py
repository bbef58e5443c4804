import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import optchain as oc
from optchain.pruning.structures import structure_of


def masks(shape, seed=0, **axes):
    params = {"kernel": jax.random.normal(jax.random.key(seed), shape)}
    state = oc.sparse(oc.sgd(0.1), **axes).init(params)
    return np.asarray(params["kernel"]), np.asarray(state["sparse"]["masks"]["kernel"])


@pytest.mark.parametrize("axis", [0, -1])
@pytest.mark.parametrize("n, m", [(2, 4), (3, 8)])
def test_n_of_m(axis, n, m):
    """In each group of m neighbors the n largest are kept."""
    x, mask = masks((16, 8), structure=f"{n}:{m}", axis=axis)
    x, mask = (np.moveaxis(a, axis, -1).reshape(-1, m) for a in (x, mask))
    for row, kept in zip(np.abs(x), mask, strict=True):
        assert set(np.flatnonzero(kept)) == set(np.argsort(-row)[:n])


def test_n_of_m_lies_along_what_a_dense_layer_sums_over():
    _, mask = masks((8, 3), structure="2:4")
    assert (mask.reshape(2, 4, 3).sum(1) == 2).all()


def test_blocks():
    x, mask = masks((6, 8), sparsity=0.5, structure=[3, 2])
    tiles = np.abs(x).reshape(2, 3, 4, 2).mean((1, 3))
    kept = np.zeros(8, bool)
    kept[np.argsort(-tiles.ravel())[:4]] = True
    np.testing.assert_array_equal(mask, np.kron(kept.reshape(2, 4), np.ones((3, 2))).astype(bool))


def test_blocks_tile_the_last_axes():
    _, mask = masks((3, 4, 6), sparsity=0.5, structure=[6])
    assert (mask.all(-1) | ~mask.any(-1)).all() and mask.any(-1).sum() == 6


@pytest.mark.parametrize("axis", [1, -1])
def test_channels(axis):
    x, mask = masks((4, 6, 5), sparsity=0.5, structure="channels", axis=axis)
    x, mask = (np.moveaxis(a, axis, 0).reshape(a.shape[axis], -1) for a in (x, mask))
    kept = np.argsort(-np.abs(x).mean(1))[: round(0.5 * len(x))]
    np.testing.assert_array_equal(mask, np.isin(np.arange(len(x)), kept)[:, None] & np.ones_like(mask))


@pytest.mark.full
@settings(max_examples=10, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=3))
def test_units_are_means_and_lead_back_to_their_entries(sizes):
    grid, block = zip(*sizes, strict=True)
    shape = tuple(a * b for a, b in sizes)
    own = structure_of(list(block), None)
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    wanted = np.zeros(grid)
    for place in itertools.product(*map(range, shape)):
        wanted[tuple(i // b for i, b in zip(place, block, strict=True))] += x[place] / np.prod(block)
    units = own.units(jnp.asarray(x))
    np.testing.assert_allclose(units[0], wanted.ravel(), rtol=1e-4, atol=1e-5)
    back = np.asarray(own.entries(units, shape))
    for place in itertools.product(*map(range, shape)):
        assert back[place] == units[0].reshape(grid)[tuple(i // b for i, b in zip(place, block, strict=True))]


@pytest.mark.parametrize(
    "shape, axes, message",
    [
        ((6, 4), {"structure": "2:4"}, r"leaf 'kernel' of shape \(6, 4\) has an axis -2 that is not divisible by 4"),
        ((6, 4), {"structure": "2:4", "axis": 2}, r"of shape \(6, 4\) has no axis 2"),
        ((6, 4), {"structure": [4, 2], "sparsity": 0.5}, r"of shape \(6, 4\) has an axis 0 that is not divisible by 4"),
        ((6, 4), {"structure": [1, 2, 2], "sparsity": 0.5}, r"of shape \(6, 4\) has 2 axes, fewer than"),
        ((6, 4), {"structure": "channels", "axis": -3, "sparsity": 0.5}, r"of shape \(6, 4\) has no axis -3"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(shape, axes, message):
    with pytest.raises(ValueError, match=message):
        masks(shape, **axes)


@pytest.mark.parametrize(
    "structure, axis, message",
    [
        ("4:2", None, "keeps 4 of 2"),
        ("0:4", None, "keeps 0 of 4"),
        ("chanels", None, "did you mean 'channels'"),
        ([0, 2], None, r"structure is \[0, 2\]"),
        ("unstructured", 1, "has no axis to choose, got axis=1"),
        ([2, 2], 0, "has no axis to choose"),
        ("channels", 0.5, "axis must be a whole number"),
    ],
)
def test_a_structure_that_is_none_is_refused(structure, axis, message):
    with pytest.raises(ValueError, match=message):
        structure_of(structure, axis)
