"""Masks: patterns, predicates, trees, and the names of leaves."""

import dataclasses
import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

import optchain as oc
from optchain.core.mask import Without, is_kernel, select
from optchain.core.paths import named_leaves, names_of, nearest

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
        ({"block": True, "head": False}, [True, True, False]),
        ({"block": {"kernel": False, "bias": True}, "head": False}, [True, False, False]),
        (True, [True, True, True]),
        (lambda params: jax.tree.map(lambda p: p.ndim > 1, params), [False, True, True]),
        (lambda params, least=2: {"block": True, "head": params["head"]["kernel"].ndim > least}, [True, True, False]),
        (functools.partial(lambda word, path, p: word in path, "head"), [False, False, True]),
        (lambda *args: args[0].endswith("bias"), [True, False, False]),
    ],
)
def test_select(mask, wanted):
    assert select(mask, TREE) == wanted


@pytest.mark.parametrize(
    "mask, message",
    [
        ("*/kernle", "'\\*/kernle' matches no parameter; did you mean 'head/kernel' or 'block/kernel'"),
        (["*/bias", "nowhere"], "'nowhere' matches no parameter; valid: block/bias, block/kernel, head/kernel"),
        (lambda params: params, "gives .* for parameter 'block/bias'; expected one bool"),
        (lambda params: params["no"], "mask '<lambda>' fails: KeyError: 'no'; a predicate takes \\(path, leaf\\)"),
        (lambda path: path.endswith("bias"), "AttributeError.*a function of the whole tree takes nothing else"),
        (lambda: True, "TypeError.*takes 0 positional arguments"),
        (lambda path, p: p > 0, "expected one bool for the whole leaf"),
        (lambda path, p: 1, "gives 1 for parameter 'block/bias'"),
        ({"block": True}, "mask has no leaf 'head/kernel'; valid: block"),
        ({"block": {"kernel": True}, "head": True}, "mask has no leaf 'block/bias'; valid: block/kernel, head"),
        (lambda params: {"block": True}, "mask has no leaf 'head/kernel'"),
        ([], "mask has no leaf 'block/bias'; there are none"),
    ],
)
def test_a_mask_that_says_nothing_sensible_is_an_error(mask, message):
    with pytest.raises(ValueError, match=message):
        select(mask, TREE)


def test_linen_and_nnx_leaves_have_the_same_paths_at_init_and_update():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    state = nnx.state(model, nnx.Param)
    assert names_of(state) == names_of(nnx.to_pure_dict(state)) == ["bias", "kernel"]


@given(st.recursive(st.just(1.0), lambda x: st.dictionaries(st.text("ab/", min_size=1), x) | st.lists(x), max_leaves=8))
def test_paths_are_distinct_for_any_tree_or_refused(tree):
    try:
        paths = names_of(tree)
    except ValueError as error:
        assert "two leaves have the same path" in str(error) and "/" in str(tree)
    else:
        assert len(set(paths)) == len(paths)


def test_two_leaves_of_one_path_are_an_error_that_shows_both():
    x, tree = jnp.ones(4), {"a": {"b/w": jnp.ones(4)}, "a/b": {"w": jnp.ones(4)}}
    message = r"two leaves have the same path 'a/b/w': \['a'\]\['b/w'\] and \['a/b'\]\['w'\]; rename a key"
    for tx in (oc.add_noise(0.1, 0.5), oc.keep_random(0.5), oc.adam(0.1)):
        with pytest.raises(ValueError, match=message):
            tx.init(tree)
    # One key with a slash, as those of Haiku, is a part of the path like any other.
    tx = oc.scale(2.0, mask="mlp/*/w")
    haiku = {"mlp/~/linear_0": {"w": x, "b": x}}
    updates, _ = tx.update(haiku, tx.init(haiku))
    np.testing.assert_array_equal(updates["mlp/~/linear_0"]["w"], 2 * x)
    np.testing.assert_array_equal(updates["mlp/~/linear_0"]["b"], x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Attention:
    query: jax.Array
    value: jax.Array


def test_a_field_called_value_has_its_name_and_the_box_of_a_parameter_none():
    tree = {"attention": Attention(jnp.ones(2), jnp.ones(2)), "last": nnx.Param(jnp.ones(2))}
    boxed = {"kernel": nn.Partitioned(jnp.ones((2, 2)), ("x", None)), "value": Attention(jnp.ones(2), jnp.ones(2))}
    assert names_of(tree) == ["attention/query", "attention/value", "last"]
    assert names_of(boxed) == ["kernel", "value/query", "value/value"]
    assert select("*/value", tree) == [False, True, False]
    assert named_leaves(nnx.Param({"value": 1.0, "other": 2.0})) == [("other", 2.0), ("value", 1.0)]
    tx = oc.scale(2.0, mask="*/value")
    updates, _ = tx.update(tree, tx.init(tree))
    np.testing.assert_array_equal(updates["attention"].value, 2 * jnp.ones(2))
    np.testing.assert_array_equal(updates["attention"].query, jnp.ones(2))


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


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Callable:
    """A model that is a tree and a function, as in Equinox."""

    kernel: jax.Array
    bias: jax.Array

    def __call__(self, x):
        return x @ self.kernel + self.bias


def test_a_tree_of_bools_that_could_be_called_is_a_tree():
    model = {"layer": Callable(jnp.ones((2, 2)), jnp.ones(2))}
    assert select(jax.tree.map(lambda p: p.ndim > 1, model), model) == [True, False]
    assert select(Callable(True, False), model["layer"]) == [True, False]


MATRICES = {
    "is_matrix": oc.is_matrix,
    "is_kernel": oc.is_kernel,
    "of the whole tree": lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    "without": Without(None, lambda path, p: p.ndim < 2),
}
WAYS = {
    "leaf by leaf": lambda mask: oc.add_decayed_weights(1.0, mask=mask),
    "on the whole tree": lambda mask: oc.clip_by_global_norm(1e-9, mask=mask),
    "groups": lambda mask: oc.groups(oc.scale(0.0), [(mask, oc.add_decayed_weights(1.0)), (lambda path, p: True, {})]),
    "sparse": lambda mask: oc.sparse(oc.scale(1.0), 0.9, mask=mask),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mask", MATRICES)
def test_functions_see_leaves_without_the_layers_that_are_declared(mask, way):
    """Stacked biases and scales are vectors, whatever they are called."""
    params = {"blocks": {"kernel": jnp.ones((3, 2, 2)), "shift": jnp.ones((3, 2))}}
    params |= {"head": jnp.ones((2, 2)), "shift": jnp.ones(2)}
    tx, outside, changed = WAYS[way](MATRICES[mask]), 0 if way == "groups" else 1, []
    for transformation in (tx, oc.over_layers(tx, "blocks/*")):
        updates, _ = transformation.update(params, transformation.init(params), params)
        changed.append([bool((u != outside).any()) for u in jax.tree.leaves(updates)])
    assert changed == [[True, True, True, False], [True, False, True, False]]


TAKERS = {
    **WAYS,
    "a preset": lambda mask: oc.adamw(0.1, weight_decay=0.5, mask=mask),
    "the other matrices of muon": lambda mask: oc.muon(0.1, adamw=mask),
    "without": lambda mask: oc.scale(0.0, mask=Without(None, mask)),
    "examples": lambda mask: oc.differentially_private_aggregate(1e-3, 0.0, mask=mask),
}


@pytest.mark.parametrize("taker", TAKERS)
def test_wherever_a_mask_is_taken_it_may_be_the_beginning_of_a_tree_or_a_function_of_the_whole(taker):
    params = {"a": {"x": jnp.ones((2, 2)), "y": jnp.ones((2, 2))}, "b": jnp.ones((2, 2)), "c": jnp.ones((2, 2))}
    beginning = {"a": True, "b": False, "c": False}
    results = []
    for mask in ("a/*", beginning, lambda params: beginning):
        tx = TAKERS[taker](mask)
        results.append(tx.update(params, tx.init(params), params)[0])
    chex.assert_trees_all_equal(*results)
    assert not jnp.array_equal(results[0]["a"]["x"], results[0]["b"])


def test_a_leaf_that_cannot_move_is_left_out_by_any_mask():
    params = {"a": {"n": jnp.arange(2)}, "w": jnp.ones(2)}
    for mask in ({"a": False, "w": True}, lambda params: {"a": False, "w": True}, Without(None, "a/*")):
        updates, _ = oc.scale(2.0, mask=mask).update(params, oc.scale(2.0, mask=mask).init(params), params)
        np.testing.assert_array_equal(updates["a"]["n"], params["a"]["n"])
    tx = oc.scale(2.0, mask={"a": True, "w": True})
    with pytest.raises(ValueError, match="scale: leaf 'a/n' is int32, expected a real floating dtype"):
        tx.update(params, tx.init(params), params)
