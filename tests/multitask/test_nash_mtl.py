import jax
import jax.numpy as jnp
import numpy as np
import pytest
from several_tasks import as_vectors, gradients, params, updates
from whole_tree import vector

import optchain as oc


def paper(gs, sweeps=20_000):
    """The solution of G alpha = 1 / alpha (Claim 3.1 of Navon et al.), one weight after the other."""
    products, alpha = gs @ gs.T, 1 / np.linalg.norm(gs, axis=1)
    for _ in range(sweeps):
        for i in range(len(gs)):
            rest = products[i] @ alpha - products[i, i] * alpha[i]
            alpha[i] = (-rest + np.sqrt(rest**2 + 4 * products[i, i])) / (2 * products[i, i])
    return alpha


@pytest.mark.parametrize("tasks", [2, 4])
def test_agrees_with_the_paper(tasks):
    grads = [gradients(seed, tasks) for seed in range(3)]
    found, _ = updates(oc.nash_mtl(ridge=0.0, iterations=40), grads)
    for u, gs in zip(found, map(as_vectors, grads), strict=True):
        np.testing.assert_allclose(u, paper(gs) @ gs, rtol=1e-9, atol=1e-9 * np.abs(u).max())
        np.testing.assert_allclose(np.linalg.norm(u), np.sqrt(tasks), rtol=1e-9)


def test_the_scale_of_a_loss_does_not_matter():
    g = gradients(0, 3)
    other = jax.tree.map(lambda x: x * jnp.array([1e4, 1.0, 1e-5]).reshape(-1, *(1,) * (x.ndim - 1)), g)
    (a,), _ = updates(oc.nash_mtl(), [g])
    (b,), _ = updates(oc.nash_mtl(), [other])
    np.testing.assert_allclose(a, b, rtol=1e-4)


def test_a_gradient_of_zeros_has_no_weight_and_opposed_ones_stay_finite():
    g = gradients(1, 3)
    none = jax.tree.map(lambda x: x.at[1].set(0), g)
    two = jax.tree.map(lambda x: x[jnp.array([0, 2])], g)
    (with_none,), _ = updates(oc.nash_mtl(), [none])
    (without,), _ = updates(oc.nash_mtl(), [two])
    np.testing.assert_allclose(with_none, without, rtol=1e-9)
    opposed = jax.tree.map(lambda x: jnp.stack([x[0], -x[0]]), g)
    u, _ = oc.nash_mtl().update(opposed, oc.nash_mtl().init(params()), params())
    assert np.all(np.isfinite(vector(u)))
    with pytest.raises(ValueError, match="nash_mtl: ridge must be a number of at least 0"):
        oc.nash_mtl(ridge=-1.0)
