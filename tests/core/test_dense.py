"""The reference runner on any tree: every leaf is treated as if it were alone."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from techniques import RULES, build

from optchain.core.joint import Joint

leaves = st.builds(
    lambda shape, dtype, seed: jax.random.normal(jax.random.key(seed), shape).astype(dtype),
    st.lists(st.integers(0, 3), max_size=3).map(tuple),
    st.sampled_from([jnp.float32, jnp.bfloat16, jnp.float16]),
    st.integers(0, 9),
)
trees = st.recursive(
    leaves, lambda x: st.dictionaries(st.text("ab", min_size=1, max_size=3), x, max_size=3) | st.lists(x, max_size=2)
)


@given(trees, st.sampled_from([name for name in RULES if not isinstance(build(name).link, Joint)]))
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
