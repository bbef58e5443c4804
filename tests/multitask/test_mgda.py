import jax
import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, params, updates

import optchain as oc


def frank_wolfe(gs, steps=20_000):
    """Algorithm 2 of Sener and Koltun: the weights of the shortest mean."""
    products, alpha = gs @ gs.T, np.full(len(gs), 1 / len(gs))
    for _ in range(steps):
        t = int(np.argmin(products @ alpha))
        v1, v12, v2 = products[t, t], alpha @ products[t], alpha @ products @ alpha
        # Algorithm 1: the least norm on the segment from the task to where we are.
        gamma = 1.0 if v12 >= v1 else 0.0 if v12 >= v2 else (v2 - v12) / (v1 + v2 - 2 * v12)
        alpha = (1 - gamma) * alpha
        alpha[t] += gamma
    return alpha


@pytest.mark.parametrize("tasks", [2, 5])
def test_agrees_with_the_paper(tasks):
    grads = [gradients(seed, tasks) for seed in range(6)]
    found, _ = updates(oc.mgda(exchanges=100), grads)
    for u, g in zip(found, map(as_vectors, grads), strict=True):
        expected = frank_wolfe(g) @ g
        np.testing.assert_allclose(u, expected, rtol=0, atol=1e-2 * np.abs(expected).max())  # which is slow
        assert u @ u <= expected @ expected * (1 + 1e-12)  # at least as short
        assert np.all(g @ u >= u @ u * (1 - 1e-9))  # no loss rises


def test_of_normalized_gradients_the_weights_sum_to_one():
    (u,), _ = updates(oc.mgda("norm"), [gradients(3, 3)])
    g = as_vectors(gradients(3, 3))
    unit = g / np.linalg.norm(g, axis=1)[:, None]
    weights = frank_wolfe(unit) / np.linalg.norm(g, axis=1)
    np.testing.assert_allclose(u, weights / weights.sum() @ g, rtol=0, atol=2e-3 * np.abs(u).max())


def test_at_a_pareto_stationary_point_the_update_is_zero():
    g = gradients(0, 2)
    opposed = jax.tree.map(lambda x: jnp.stack([x[0], -3 * x[0]]), g)
    u, _ = oc.mgda().update(opposed, oc.mgda().init(params()), params())
    assert max(np.abs(x).max() for x in jax.tree.leaves(u)) < 1e-5 * max(np.abs(x).max() for x in jax.tree.leaves(g))


def test_other_values_are_refused():
    with pytest.raises(ValueError, match="mgda: normalize must be 'none' or 'norm', got 'loss'"):
        oc.mgda("loss")
    with pytest.raises(ValueError, match="mgda: exchanges must be a whole number of at least 1"):
        oc.mgda(exchanges=0)
