"""A step of one technique by itself rounds to the parameters' dtype once, as a chain's does."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc

SIZE, FACTOR = 4096, -0.013


def drawn(dtype):
    """Parameters and gradients, of which hardly a product with the factor fits the dtype."""
    keys = jax.random.split(jax.random.key(0), 2)
    return [jax.random.normal(key, (SIZE,)).astype(dtype) for key in keys]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "tx",
    [
        pytest.param(oc.scale(FACTOR), id="alone"),
        pytest.param(oc.scale_by_learning_rate(-FACTOR), id="learning rate alone"),
        pytest.param(oc.chain(oc.scale(FACTOR)), id="in a chain"),
        pytest.param(oc.guard(oc.scale(FACTOR)), id="in a guard"),
    ],
)
def test_a_scaled_gradient_is_added_before_the_one_rounding(tx, dtype):
    p, g = drawn(dtype)
    new, _ = oc.apply(tx, g, tx.init(p), p)
    once = (np.float32(p) + np.float32(FACTOR) * np.float32(g)).astype(dtype)
    assert new.dtype == dtype
    np.testing.assert_array_equal(np.asarray(new), once)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize(
    "tx",
    [oc.scale_by_adam(), oc.add_decayed_weights(0.1), oc.clip_by_global_norm(1.0), oc.scale_by_rms()],
    ids=lambda tx: tx.link.name,
)
def test_a_technique_by_itself_steps_as_in_a_chain(tx, dtype):
    p, g = drawn(dtype)
    chained = oc.chain(tx)
    alone, _ = oc.apply(tx, g, tx.init(p), p)
    expected, _ = oc.apply(chained, g, chained.init(p), p)
    chex.assert_trees_all_equal(alone, expected)
