import chex
import jax.numpy as jnp
import numpy as np
from agreement import assert_agree, by_leaf
from recorded_gradients import Recorded
from techniques import own
from whole_tree import SPRING, run, run_float64

import optchain as oc

# Each rounding of the distance stays in all later ones.
FLOAT32, FLOAT64 = 2e-4, 1e-8


def paper(gs, p, reps_rel=1e-6, eps=1e-8):
    """The step size of Ivgi, Hinder and Carmon, of one leaf."""
    r, total, x = reps_rel * (1 + np.sqrt(np.sum(p**2))), 0.0, p
    for g in gs:
        g = g + SPRING * (x - p)
        r = max(r, np.sqrt(np.sum((x - p) ** 2)))
        total += np.sum(g**2)
        x = x - r / np.sqrt(total + eps) * g
    return {"distance": np.asarray(r), "squares": np.asarray(total), "moved": p - x}


def test_is_dog_leaf_by_leaf(recorded):
    twin = by_leaf(paper, recorded.grads, recorded.params)
    exact, found = (way(oc.scale_by_ldog(), recorded, -1.0) for way in (run_float64, run))
    for name in ("distance", "squares", "moved"):
        assert_agree(exact.state[name], twin[name], FLOAT64)
        assert_agree(found.state[name], twin[name], FLOAT32)


def test_of_one_leaf_it_is_dog(recorded):
    one = Recorded(*(tree["digits"]["conv"]["kernel"] for tree in recorded))
    chex.assert_trees_all_close(run(oc.ldog(), one).params, run(oc.dog(), one).params, rtol=1e-6)


def test_a_declared_layer_has_its_own_rate():
    p = {"w": jnp.zeros((2, 3))}
    tx = oc.over_layers(oc.scale_by_ldog(reps_rel=0.1, eps=0.0), "w")
    updates, state = tx.update({"w": jnp.array([[1.0] * 3, [100.0] * 3])}, tx.init(p), p)
    np.testing.assert_allclose(updates["w"], 0.1 / np.sqrt(3), rtol=1e-6)
    assert own(state)["distance"]["w"].shape == (2,)
