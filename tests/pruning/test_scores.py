import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sparse_runs import top

import optchain as oc
from optchain.storage.rounding import random_bits

P = {"kernel": jax.random.normal(jax.random.key(0), (6, 5))}
G = {"kernel": jax.random.normal(jax.random.key(1), (6, 5))}
LAWS = {
    "magnitude": lambda p, g: np.abs(p),
    "gradient": lambda p, g: np.abs(g),
    "saliency": lambda p, g: np.abs(np.float32(p * g)),
    "random": lambda p, g: np.asarray(random_bits((6, 5), 3, 0, "kernel") >> 8, np.float64),
}


def mask_after_one_step(**axes):
    tx = oc.sparse(oc.sgd(0.1), 0.7, seed=3, **axes)
    _, state = oc.apply(tx, G, tx.init(P), P)
    return np.asarray(state["sparse"]["masks"]["kernel"])


@pytest.mark.parametrize("name", LAWS)
def test_the_largest_scores_are_kept(name):
    wanted = top(LAWS[name](np.asarray(P["kernel"]), np.asarray(G["kernel"])), 9)
    np.testing.assert_array_equal(mask_after_one_step(score=name), wanted)


def test_a_function_is_a_score():
    wanted = top(np.asarray(P["kernel"]) ** 2 + np.asarray(G["kernel"]), 9)
    np.testing.assert_array_equal(mask_after_one_step(score=lambda p, g: p**2 + g), wanted)


@pytest.mark.parametrize("name", ["magnitude", "random"])
def test_what_needs_no_gradient_is_known_before_the_first_step(name):
    tx = oc.sparse(oc.sgd(0.1), 0.7, score=name, seed=3)
    np.testing.assert_array_equal(tx.init(P)["sparse"]["masks"]["kernel"], mask_after_one_step(score=name))


@pytest.mark.parametrize("name", ["gradient", "saliency"])
def test_what_needs_one_keeps_all_until_then(name):
    assert oc.sparse(oc.sgd(0.1), 0.7, score=name).init(P)["sparse"]["masks"]["kernel"].all()


def test_equal_scores_are_told_apart_by_their_place():
    params = {"kernel": jnp.ones((4, 5))}
    mask = oc.sparse(oc.sgd(0.1), 0.65).init(params)["sparse"]["masks"]["kernel"]
    assert mask.reshape(-1).tolist() == [True] * 7 + [False] * 13


def test_a_score_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"score of a parameter has shape \(6,\), expected \(6, 5\)"):
        mask_after_one_step(score=lambda p, g: p.sum(1))
