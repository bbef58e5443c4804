"""Masks: patterns, predicates, trees, and the names of leaves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import optchain as oc
from optchain.core.mask import Without, is_kernel, select
from optchain.core.paths import nearest, path_of

TREE = {"block": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, "head": {"kernel": jnp.ones((2, 3))}}


@pytest.mark.parametrize(
    "mask, wanted",
    [
        (None, [True, True, True]),
        ("*/kernel", [False, True, True]),
        ("block/*", [True, True, False]),
        (["*/bias", "head/*"], [True, False, True]),
        (oc.is_matrix, [False, True, True]),
        (lambda path, p: path.endswith("bias"), [True, False, False]),
        ({"block": {"kernel": True, "bias": False}, "head": {"kernel": np.bool(True)}}, [False, True, True]),
        (jax.tree.map(lambda p: jnp.asarray(p.ndim == 2), TREE), [False, True, True]),
    ],
)
def test_select(mask, wanted):
    assert select(mask, TREE) == wanted


@pytest.mark.parametrize(
    "mask, message",
    [
        ("*/kernle", "'\\*/kernle' matches no parameter; did you mean 'head/kernel' or 'block/kernel'"),
        (["*/bias", "nowhere"], "'nowhere' matches no parameter; valid: block/bias, block/kernel, head/kernel"),
        (lambda params: params, "takes \\(path, leaf\\)"),
        (lambda path, p: p > 0, "expected one bool for the whole leaf"),
        (lambda path, p: 1, "gives 1 for parameter 'block/bias'"),
        ({"block": True}, "mask has no leaf 'block/bias'; did you mean 'block'"),
        ([], "mask has no leaf 'block/bias'; there are none"),
    ],
)
def test_a_mask_that_says_nothing_sensible_is_an_error(mask, message):
    with pytest.raises(ValueError, match=message):
        select(mask, TREE)


def test_linen_and_nnx_leaves_have_the_same_paths_at_init_and_update():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    names = {path_of(path) for path, _ in jax.tree.leaves_with_path(state)}
    assert names == {"kernel", "bias"}
    assert names == {path_of(path) for path, _ in jax.tree.leaves_with_path(nnx.to_pure_dict(state))}


@given(st.recursive(st.just(1.0), lambda x: st.dictionaries(st.text("abc", min_size=1), x) | st.lists(x), max_leaves=8))
def test_paths_are_distinct_for_any_tree(tree):
    paths = [path_of(path) for path, _ in jax.tree.leaves_with_path(tree)]
    assert len(set(paths)) == len(paths)


def test_nearest_lists_all_where_nothing_is_near():
    assert nearest("qqq", ["b", "a"]) == "valid: a, b"
    assert nearest("x", []) == "there are none"
    assert nearest("aaaaaaa", map(str, range(20))).endswith("... (8 more)")


def test_one_mask_without_another():
    params = {"a": {"kernel": jnp.ones((2, 2)), "bias": jnp.ones((3, 2))}, "head": {"kernel": jnp.ones((2, 2))}}
    hidden = Without(is_kernel, "head/*")
    assert select(is_kernel, params) == [False, True, True]  # a stacked bias is a matrix, but no kernel
    assert select(hidden, params) == [False, True, False]
    assert select(Without(None, hidden), params) == [True, False, True]
    with pytest.raises(ValueError, match="mask 'heads/\\*' matches no parameter"):
        select(Without(is_kernel, "heads/*"), params)
