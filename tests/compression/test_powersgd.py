import jax
import jax.numpy as jnp
import numpy as np
import pytest
from workers import AXIS, DEVICES, SHAPES, drawn, require_the_law, residual, run, sent, zeros

import optchain as oc

RANK = 3


def power(right):
    """Algorithms 1 and 2 of Vogels et al. with a loop over the devices; vectors are sent whole."""
    kept = {"right": np.asarray(right, np.float64)}

    def law(x, name):
        if name != "kernel":
            return x, x.mean(0)
        columns, _ = np.linalg.qr(np.mean([one @ kept["right"] for one in x], 0))
        factors = [one.T @ columns for one in x]
        kept["right"] = np.mean(factors, 0)
        return np.stack([columns @ factor.T for factor in factors]), columns @ kept["right"].T

    return law


def test_agrees_with_the_paper():
    grads, tx = drawn(5), oc.powersgd_mean(RANK, AXIS)
    right = tx.init(zeros())["powersgd_mean"]["right"]
    assert right["kernel"].shape == (24, RANK) and len(jax.tree.leaves(right)) == 1
    require_the_law(run(tx, grads, zeros()), grads, power(right["kernel"]))


def test_both_factors_are_summed_once():
    found = sent(oc.powersgd_mean(RANK, AXIS), zeros())
    assert set(found) == {"all-reduce"}
    assert found["all-reduce"].bytes == 4 * (RANK * (40 + 24) + 24 + 1)  # and vectors


@pytest.mark.parametrize("rank", [15, 24])
def test_of_full_rank_it_is_the_mean(rank):
    """At rank 15 the factors of 40 x 24 have as many numbers as the matrix; a wide one of rank 4 has no other part."""
    shapes = {**SHAPES, "wide": (4, 40)}
    grads = drawn(2, shapes)
    ran = run(oc.powersgd_mean(rank, AXIS), grads, zeros(shapes))
    for name in shapes:
        np.testing.assert_allclose(ran.updates[name], grads[name].mean(1), rtol=1e-5, atol=1e-6)
        assert not ran.residuals[name].any()


def test_all_columns_of_a_low_rank_are_found():
    """A gradient of rank 2 on all devices together is sent by factors of rank 2, but for rounding."""
    parts = drawn(1, {"left": (40, 2), "right": (24, 2)})
    left, right = parts["left"][0, :1].repeat(DEVICES, 0), parts["right"][0, 0]
    grads = {"kernel": np.stack([left @ right.T] * 3)}
    ran = run(oc.powersgd_mean(2, AXIS), grads, zeros({"kernel": (40, 24)}))
    np.testing.assert_allclose(ran.updates["kernel"][-1], grads["kernel"][-1].mean(0), rtol=1e-3, atol=1e-3)
    assert np.abs(residual(oc.powersgd_mean(2, AXIS), ran.state)["kernel"]).max() < 1e-3


def test_a_matrix_that_was_0_is_found_later():
    grads = drawn(3, {"kernel": (40, 24)})
    grads["kernel"][:2] = 0
    ran = run(oc.powersgd_mean(RANK, AXIS), grads, zeros({"kernel": (40, 24)}))
    assert not ran.updates["kernel"][:2].any() and np.linalg.norm(ran.updates["kernel"][2]) > 1


def test_views_and_layers():
    shapes = {"conv": (3, 3, 8, 16), "stack": (2, 20, 12)}
    grads = drawn(2, shapes)
    tx = oc.over_layers(oc.as_matrices(oc.powersgd_mean(2, AXIS), {"conv": "h w i o -> (h w i) o"}), {"stack": 1})
    ran = run(tx, grads, zeros(shapes))
    assert ran.residuals["conv"].shape == (2, DEVICES, 72, 16)  # as the matrix that is seen
    assert ran.residuals["stack"].shape == (2, 2, DEVICES, 20, 12)
    total = ran.updates["conv"].sum(0).reshape(72, 16) + ran.residuals["conv"][-1].mean(0)
    np.testing.assert_allclose(total, grads["conv"].mean(1).sum(0).reshape(72, 16), rtol=1e-4, atol=1e-4)
    alone = [run(oc.powersgd_mean(2, AXIS), {"w": grads["stack"][:, :, i]}, zeros({"w": (20, 12)})) for i in range(2)]
    for i, one in enumerate(alone):
        np.testing.assert_allclose(ran.updates["stack"][:, i], one.updates["w"], rtol=1e-4, atol=1e-5)


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="powersgd_mean: rank must be a whole number of at least 1, got 0"):
        oc.powersgd_mean(0)
    cube = {"w": jnp.ones((2, 3, 4))}
    with pytest.raises(ValueError, match="powersgd_mean looks across 2 axes: leaf 'w' has shape"):
        oc.powersgd_mean(2).init(cube)
