"""Packed leaves with slots in codes: each leaf has the codes it has alone, in stacks that are stepped in parts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.storage import chunks
from tests.packing.test_packed import after_three_steps, buffers, drawn

SHAPES = {
    "a": {"kernel": (24, 40), "bias": (40,)},
    "b": {"kernel": (24, 40), "bias": (40,)},
    "c": {"kernel": (24, 40)},
    "deep": {"kernel": (4, 40, 20)},
    "out": {"kernel": (40, 10)},
}
INNER = oc.precision(oc.adamw(1e-2), slots="int8", min_size=64, mask="c/*")


def trees():
    return drawn(0, shapes=SHAPES), [drawn(seed, shapes=SHAPES) for seed in (1, 2, 3)]


@functools.cache
def alone():
    """The parameters and the state after the steps of single leaves."""
    return after_three_steps(INNER, *trees())


def require_near(found, expected):
    """The same but for what another fusion rounds another way."""
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert x.dtype == y.dtype and x.shape == y.shape
        if jnp.issubdtype(x.dtype, jnp.integer):
            assert np.mean(np.asarray(x) != np.asarray(y)) < 1e-2
        else:
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


def require_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_leaves_with_codes_lie_in_stacks_or_alone_and_others_side_by_side():
    params, _ = trees()
    # Of ten entries in a row, two rows would make a block in a stack, and make none in a matrix.
    assert buffers(oc.packed(INNER), params) == {
        "flat": (24 * 40 + 80,),
        "stack:24x40": (2, 24, 40),
        "stack:4x40x20": (1, 4, 40, 20),
        "out/kernel": (40, 10),
    }
    by_slot = oc.precision(oc.adamw(1e-2), slots={"nu": "bfloat16"}, min_size=900)
    assert buffers(oc.packed(by_slot), params) == {
        "flat": (80 + 400,),
        "stack:24x40": (3, 24, 40),
        "stack:4x40x20": (1, 4, 40, 20),
    }


@pytest.mark.parametrize("are_packed", [True, False], ids=["parameters", "slots"])
def test_the_steps_and_the_codes_are_those_of_single_leaves(are_packed, monkeypatch):
    (params, grads), tx = trees(), oc.packed(INNER)
    single, expected = alone()
    monkeypatch.setattr(chunks, "CPU", 2**8)  # parts of a leaf, of which some end within it
    if are_packed:
        params, grads = oc.pack(tx, params), [oc.pack(tx, g) for g in grads]
    after, state = after_three_steps(tx, params, grads)
    apart = oc.state_by_parameters(tx, state, params)
    require_near(oc.unpack(after) if are_packed else after, single)
    require_near(apart["inner"], expected)
    require_same(oc.state_by_owners(tx, apart, params), state)
    migrated, _ = oc.migrate_state(expected, tx, params)
    require_same(oc.state_by_parameters(tx, migrated, params)["inner"]["links"], expected["links"])


def test_a_mean_of_matrices_in_codes_is_that_of_each_matrix():
    inner = oc.precision(oc.over_layers(oc.scale_by_muon(mask="*/kernel"), "deep/*"), slots={"mu": "int16"}, min_size=0)
    params, grads = trees()
    tx = oc.packed(inner)
    single, expected = after_three_steps(inner, params, grads)
    after, state = after_three_steps(tx, oc.pack(tx, params), [oc.pack(tx, g) for g in grads])
    require_near(oc.unpack(after), single)
    require_near(oc.state_by_parameters(tx, state, oc.pack(tx, params))["inner"], expected)


@pytest.mark.parametrize("inner", [oc.scale_by_nadam(), oc.precision(oc.scale_by_nadam(), slots="int8", min_size=0)])
def test_one_number_of_a_stack_is_that_of_each_of_its_leaves(inner):
    params, _ = trees()
    tx = oc.packed(oc.chain(oc.clip_by_leaf_norm(1.0), inner))
    state = tx.init(oc.pack(tx, params))
    apart = oc.state_by_parameters(tx, state, oc.pack(tx, params))
    require_same(oc.state_by_owners(tx, apart, oc.pack(tx, params)), state)
    assert apart["inner"]["links"]["scale_by_nadam"]["scale_by_nadam"]["weight"]["b"]["kernel"].shape == ()


def test_temporaries_are_small_where_the_stack_is_large():
    tx = oc.packed(oc.precision(oc.scale_by_adam(), slots="int8"))
    params = oc.pack(tx, {f"w{i}": jax.ShapeDtypeStruct((128, 128), jnp.float32) for i in range(64)})
    step = jax.jit(lambda s, g: tx.update(g, s)[::-1], donate_argnums=(0, 1))
    compiled = step.lower(jax.eval_shape(tx.init, params), params).compile()
    at_once = compiled.memory_analysis().temp_size_in_bytes
    assert at_once < 0.1 * 2**24  # the same for a stack of any size: 0.1 bytes of one with 16 million entries
