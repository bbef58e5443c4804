"""What the recorded gradients give as vectors is what they give leaf by leaf."""

import chex
import pytest
import whole_tree
from agreement import SLOTS, assert_agree, run, run_float64

import optchain as oc


@pytest.mark.parametrize("runs", [run, run_float64, whole_tree.run_float64], ids="float32 float64 whole_tree".split())
def test_vectors_give_what_leaves_give(recorded, entries, runs):
    tx = oc.chain(clip=oc.clip_by_global_norm(0.5), adam=oc.scale_by_adam(), decay=oc.add_decayed_weights(0.1))
    joined, apart = runs(tx, entries, -0.01), runs(tx, recorded, -0.01)
    chex.assert_trees_all_equal_shapes_and_dtypes(joined, apart)
    for found, twin in ((joined.params, apart.params), (joined.updates, apart.updates)):
        assert_agree(found, twin, SLOTS)
    slots = [found.state["links"]["adam"] for found in (joined, apart)]
    assert_agree(slots[0], slots[1], SLOTS)
    with pytest.raises(AssertionError, match="digits/conv/bias differs by"):
        assert_agree(joined.updates, recorded.grads, SLOTS)
