import io

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import serialization
from sparse_runs import three_dtypes

import optchain as oc

TX = oc.chain(oc.sparse(oc.adamw(0.01), 0.5))
SHAPES = [(), (1,), (7,), (8,), (9,), (3, 5), (0, 4), (2, 3, 4)]


def state():
    return oc.without_metrics(TX.init(three_dtypes()))


def template():
    return jax.eval_shape(oc.without_metrics, TX.init(three_dtypes()))


@pytest.mark.parametrize("shape", SHAPES)
def test_bits_come_back(shape):
    rng = np.random.default_rng(0)
    tree = {"mask": jnp.asarray(rng.random(shape) < 0.5), "x": jnp.ones(3), "left": optax.MaskedNode()}
    packed = oc.pack_bits(tree)
    if shape:
        assert packed["mask"].dtype == jnp.uint8 and packed["mask"].size == -(-int(np.prod(shape)) // 8)
    chex.assert_trees_all_equal(oc.unpack_bits(packed, tree), tree)


def test_a_mask_takes_an_eighth_of_a_byte_for_each_weight():
    params = {"kernel": jnp.ones((64, 64))}
    masks = oc.pack_bits(oc.sparse(oc.sgd(0.1), 0.5).init(params))["sparse"]["masks"]
    assert masks["kernel"].nbytes == 64 * 64 // 8


def test_npz():
    file, packed = io.BytesIO(), oc.pack_bits(state())
    np.savez(file, **{jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(packed)})
    file.seek(0)
    with np.load(file) as arrays:
        again = jax.tree.map_with_path(lambda path, _: arrays[jax.tree_util.keystr(path)], packed)
    chex.assert_trees_all_equal(oc.unpack_bits(again, template()), state())


def test_msgpack():
    packed = oc.pack_bits(state())
    again = serialization.from_bytes(oc.pack_bits(state()), serialization.to_bytes(packed))
    chex.assert_trees_all_equal(oc.unpack_bits(again, template()), state())


def test_orbax(tmp_path):
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", oc.pack_bits(state()))
        checkpointer.wait_until_finished()
        again = checkpointer.restore(tmp_path / "state", jax.eval_shape(oc.pack_bits, state()))
    chex.assert_trees_all_equal(oc.unpack_bits(again, template()), state())


def test_bits_of_another_mask_are_refused():
    packed = oc.pack_bits({"mask": jnp.ones(9, bool)})
    with pytest.raises(ValueError, match=r"'mask' is uint8\(2,\), expected uint8\(3,\) for a mask of \(4, 5\)"):
        oc.unpack_bits(packed, {"mask": jnp.ones((4, 5), bool)})
