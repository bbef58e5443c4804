"""Slots in codes and split parameters beside what no law moves, in boxes, pruned, differentiated, and of extremes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

import optchain as oc
from optchain.storage.split import joined

CODED = {
    "codes": lambda tx: oc.precision(tx, slots="int8", min_size=0),
    "split": lambda tx: oc.precision(tx, params="split"),
    "both": lambda tx: oc.precision(tx, params="split8", slots="int4", min_size=0),
}
every_coded = pytest.mark.parametrize("coded", CODED.values(), ids=CODED)


def drawn(seed, dtype=jnp.bfloat16):
    return jax.random.normal(jax.random.key(seed), (8, 64)).astype(dtype)


def stepped(tx, params, grads, steps=2):
    state, step = tx.init(params), jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    for _ in range(steps):
        params, state = step(grads, state, params)
    return params, state


@every_coded
def test_what_no_law_moves_stays_and_the_others_are_stepped_as_without_it(coded):
    tx = coded(oc.adamw(0.1))
    others = {"whole": jnp.arange(300), "none": None, "key": jax.random.key(3), "still": drawn(1)}
    params = {"w": drawn(0)} | others
    grads = {"w": drawn(2), "whole": None, "none": None, "key": None, "still": None}
    after, state = stepped(tx, params, grads)
    alone, _ = stepped(tx, {"w": params["w"]}, {"w": grads["w"]})
    np.testing.assert_array_equal(after["w"], alone["w"])
    same = jax.tree.map(lambda a, b: bool((a == b).all()), others, {name: after[name] for name in others})
    assert all(jax.tree.leaves(same))
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))


@every_coded
def test_a_box_of_flax_names_the_axes_of_codes_scales_and_rests(coded):
    tx, w = coded(oc.adamw(0.1)), drawn(0)
    params, grads = ({"w": nn.Partitioned(x, ("data", "model")), "b": jnp.ones(3)} for x in (w, drawn(1)))
    after, state = stepped(tx, params, grads)
    plain, bare = stepped(tx, *({"w": x["w"].value, "b": x["b"]} for x in (params, grads)))
    np.testing.assert_array_equal(after["w"].value, plain["w"])
    for x, y in zip(*map(jax.tree.leaves, (nn.unbox(state), bare)), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
    is_box = lambda x: isinstance(x, nn.Partitioned)  # noqa: E731
    boxes = [x for x in jax.tree.leaves(state, is_leaf=is_box) if is_box(x)]
    # One block is a row here, so that its scale follows the rows alone.
    assert boxes and all(len(box.names) == box.value.ndim and box.names[0] == "data" for box in boxes)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1e30])
@pytest.mark.parametrize("slots", ["int8", "int4", "int16"])
def test_extreme_gradients_leave_parameters_finite_and_zeros_leave_them(slots, size):
    params = {"w": drawn(0, jnp.float32)}
    tx = oc.precision(oc.adam(0.1), slots=slots, min_size=0)
    after, state = stepped(tx, params, {"w": jnp.full((8, 64), size)}, 3)
    assert all(np.isfinite(x).all() for x in jax.tree.leaves((after, state)))
    if size < 1e19:  # a larger square overflows, and a last bit decides whether the root is infinite
        exact, _ = stepped(oc.adam(0.1), params, {"w": jnp.full((8, 64), size)}, 3)
        np.testing.assert_allclose(after["w"], exact["w"], atol=0.05)
    if size == 0:
        np.testing.assert_array_equal(after["w"], params["w"])


def test_three_steps_have_a_derivative_near_that_in_float32():
    params = {"w": drawn(0, jnp.float32)}

    def end(tx, rate):
        p, state = params, tx.init(params)
        for seed in range(3):
            u, state = tx.update({"w": drawn(seed, jnp.float32) + 0.1 * p["w"]}, state, p)
            p = jax.tree.map(lambda p, u: p - rate * u, p, u)
        return jnp.sum(p["w"] * params["w"])

    plain = oc.scale_by_adam(eps=1.0)
    exact, coded = (
        jax.jit(jax.grad(functools.partial(end, tx)))(0.1)
        for tx in (plain, oc.precision(plain, slots="int8", min_size=0))
    )
    assert jnp.isfinite(coded) and jnp.isclose(coded, exact, rtol=0.1)


def test_pruned_weights_stay_zero_and_masks_in_bits_stand_beside_codes():
    params = {"w": drawn(0, jnp.float32)}
    tx = oc.sparse(oc.precision(oc.adamw(0.1), slots="int8", min_size=0), 0.5)
    plain = oc.sparse(oc.adamw(0.1), 0.5)
    after, state = stepped(tx, params, {"w": drawn(1, jnp.float32)})
    exact, _ = stepped(plain, params, {"w": drawn(1, jnp.float32)})
    np.testing.assert_array_equal(after["w"] == 0, exact["w"] == 0)
    assert 0.4 < float((after["w"] == 0).mean()) < 0.6
    np.testing.assert_allclose(after["w"], exact["w"], atol=0.05)
    packed = oc.pack_bits(state)
    for x, y in zip(*map(jax.tree.leaves, (oc.unpack_bits(packed, state), state)), strict=True):
        np.testing.assert_array_equal(x, y)


def test_a_matrix_technique_takes_one_leaf_in_float32_more():
    def temporaries(tx):
        params = {"w": jax.ShapeDtypeStruct((256, 256), jnp.float32)}
        step = jax.jit(lambda s, g: tx.update(g, s)[::-1], donate_argnums=(0, 1))
        compiled = step.lower(jax.eval_shape(tx.init, params), params).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    plain = oc.scale_by_muon()
    assert temporaries(oc.precision(plain, slots="int8")) <= temporaries(plain) + 1.1 * 4 * 256 * 256


def test_split_parameters_are_what_their_master_would_be_in_boxes_and_beside_keys():
    params = {"w": nn.Partitioned(drawn(0), ("a", "b")), "key": jax.random.key(0), "none": None}
    tx = oc.precision(oc.sgd(1e-3), params="split")
    after, state = stepped(tx, params, {"w": nn.Partitioned(drawn(1), ("a", "b")), "key": None, "none": None})
    rest = state["precision"]["rest"]["w"]
    expected = params["w"].value.astype(jnp.float32)
    for _ in range(2):
        expected = expected - jnp.float32(1e-3) * drawn(1).astype(jnp.float32)
    np.testing.assert_allclose(joined(after["w"].value, rest.value), expected, rtol=1e-6)
