import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc

CURVATURE = {"a": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array([[4.0, 0.0]])}


def separable(p):
    """A loss whose Hessian is diagonal, and not constant."""
    return sum(jnp.sum(c * jnp.cosh(x)) for c, x in zip(jax.tree.leaves(CURVATURE), jax.tree.leaves(p), strict=True))


def matrix(n=6):
    a = np.random.default_rng(0).normal(size=(n, n))
    return jnp.asarray(a @ a.T, jnp.float32)


@pytest.mark.parametrize("seed", range(3))
def test_is_exact_where_the_hessian_is_diagonal(seed):
    p = jax.tree.map(lambda c: 0.1 * c, CURVATURE)
    exact = jax.tree.map(lambda c, x: c * jnp.cosh(x), CURVATURE, p)
    for samples in (1, 3):
        chex.assert_trees_all_close(oc.hutchinson(separable, p, jax.random.key(seed), samples), exact, rtol=1e-6)


@pytest.mark.full
def test_is_right_on_average_elsewhere():
    """The error is within four standard deviations, each sqrt(sum of H_ij**2, j != i) / sqrt(n)."""
    h = matrix()
    quadratic = lambda x: x @ h @ x / 2  # noqa: E731
    exact = np.diag(jax.hessian(quadratic)(jnp.ones(6)))
    n = 4096
    found = np.asarray(oc.hutchinson(quadratic, jnp.ones(6), jax.random.key(1), n))
    spread = np.sqrt((np.asarray(h) ** 2).sum(1) - exact**2) / np.sqrt(n)
    assert np.all(np.abs(found - exact) < 4 * spread)
    single = np.asarray(oc.hutchinson(quadratic, jnp.ones(6), jax.random.key(1)))
    assert np.abs(single - exact).max() > spread.max()


def test_equals_the_product_with_the_whole_hessian():
    """Each estimate is z * (H z) of some signs z: for two parameters, one of two known pairs."""
    h = jnp.array([[2.0, 1.0], [1.0, 3.0]])
    pairs = {
        tuple(np.asarray(oc.hutchinson(lambda x: x @ h @ x / 2, jnp.zeros(2), jax.random.key(seed))).tolist())
        for seed in range(20)
    }
    assert pairs == {(3.0, 4.0), (1.0, 2.0)}


def test_keeps_dtypes_and_is_told_samples():
    p = {"w": jnp.ones(3, jnp.bfloat16), "v": jnp.ones(2)}
    estimate = jax.jit(
        lambda p: oc.hutchinson(lambda p: jnp.sum(p["w"] ** 2) + jnp.sum(p["v"] ** 4), p, jax.random.key(0))
    )(p)
    chex.assert_trees_all_equal_shapes_and_dtypes(estimate, p)
    assert estimate["w"].tolist() == [2.0] * 3 and estimate["v"].tolist() == [12.0] * 2
    with pytest.raises(ValueError, match="hutchinson: samples must be a whole number of at least 1, got 0"):
        oc.hutchinson(lambda p: p, jnp.ones(()), jax.random.key(0), samples=0)
