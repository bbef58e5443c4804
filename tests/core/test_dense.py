"""The reference runner on any tree: every leaf is treated as if it were alone."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from techniques import RULES, build

import optchain as oc
from optchain.core.joint import Joint
from optchain.core.rule import core_of

leaves = st.builds(
    lambda shape, dtype, seed: jax.random.normal(jax.random.key(seed), shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]),
    st.integers(0, 9),
)
trees = st.recursive(
    leaves, lambda x: st.dictionaries(st.text("ab", min_size=1, max_size=3), x, max_size=3) | st.lists(x, max_size=2)
)


def sees_any_leaf(name):
    """Whether a rule takes leaves of all ranks, and treats them alike whatever they are called."""
    link = build(name).link
    return not isinstance(link, Joint) and core_of(link.rule, 3) not in (1, 2) and not link.rule.extras


@pytest.mark.full
@given(trees, st.sampled_from([name for name in RULES if sees_any_leaf(name)]))
@settings(max_examples=40, deadline=None)
def test_a_tree_is_its_leaves(params, name):
    tx = build(name)
    state = tx.init(params)
    updates, after = tx.update(params, state, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)
    chex.assert_trees_all_equal_shapes_and_dtypes(after, state)
    for p, u in zip(jax.tree.leaves(params), jax.tree.leaves(updates), strict=True):
        alone, _ = tx.update(p, tx.init(p), p)
        np.testing.assert_array_equal(alone, u)


class Absent(NamedTuple):
    mu: jax.Array | None  # of matrices only


CALLS = []


@oc.rule
class Ranked:
    """Remembers matrices, adds a hint to all, and notes its calls."""

    core_ndim = staticmethod(lambda ndim: min(ndim, 2))
    extras = ("hint", "scale")
    batched = True

    def init(self, p):
        return Absent(jnp.zeros_like(p) if p.ndim == 2 else None)

    def update(self, g, s, p, t, hint, scale):
        CALLS.append(g.shape)
        u = g if hint is None else g + hint * (1.0 if scale is None else scale)
        return u, Absent(None if s.mu is None else s.mu + g)


@oc.rule
class Named:
    """Adds the length of the leaf's path."""

    extras = ("path",)

    def update(self, g, s, p, t, path):
        return g + len(path), s


def test_a_law_is_told_the_path_where_it_asks():
    params = {"a": {"b": jnp.zeros(2)}, "c": jnp.zeros(1)}
    tx = oc.lift(Named, "named")()
    updates, _ = tx.update(params, tx.init(params))
    chex.assert_trees_all_equal(updates, {"a": {"b": jnp.full(2, 3.0)}, "c": jnp.ones(1)})


def test_ranks_absent_slots_extra_arguments_and_batches():
    tx = oc.chain(link=oc.lift(Ranked, "ranked")())
    params = {"a": jnp.ones((2, 2)), "b": 2 * jnp.ones((2, 2)), "c": jnp.ones(3)}
    state = tx.init(params)
    assert isinstance(state["links"]["link"]["ranked"]["mu"]["c"], optax.MaskedNode)
    updates, after = jax.jit(tx.update)(params, state, params, hint=params, scale=2.0)
    chex.assert_trees_all_equal(updates, jax.tree.map(lambda p: 3 * p, params))
    chex.assert_trees_all_equal(after["links"]["link"]["ranked"]["mu"] | {"c": 0}, params | {"c": 0})
    plain, _ = tx.update(params, state, params, hint=None, scale=None)
    chex.assert_trees_all_equal(plain, params)
    assert CALLS[:2] == [(2, 2), (3,)]  # both matrices in one call
    with pytest.raises(ValueError, match=r"ranked looks across 2 axes: leaf 'a' has shape \(2, 2, 2\)"):
        tx.init({"a": jnp.ones((2, 2, 2))})
    with pytest.raises(ValueError, match="the updates have a leaf 'b' that the values of hint lack"):
        tx.update(params, state, params, hint={"a": params["a"]})
