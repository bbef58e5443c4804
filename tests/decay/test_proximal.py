import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import drawn
from sklearn.linear_model import ElasticNet
from tiers import one_of_each

import optchain as oc

OPTIONS = [
    {"learning_rate": 0.1, "l1": 0.01},
    {"learning_rate": 0.05, "l1": 0.1, "l2": 0.5},
    {"learning_rate": 0.1, "l1": 0.0, "l2": 0.2},
    {"learning_rate": 0.1, "l1": 0.0},
]


def proximal_gradient(gs, p, learning_rate, l1, l2=0.0):
    """Equation 1.4 of Beck and Teboulle for each entry: the minimum of (q - x)**2/2 + rate (l1 |q| + l2 q**2/2)."""
    for g in gs:
        x = p - learning_rate * g
        threshold = learning_rate * l1
        q = np.where(x > threshold, x - threshold, np.where(x < -threshold, x + threshold, 0.0))
        p = q / (1 + learning_rate * l2)
    return {"params": p}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    twin = by_leaf(proximal_gradient, entries.grads, entries.params, **options)["params"]
    assert_agree(run(oc.proximal_elastic_net(**options), entries).params, twin, PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    twin = by_leaf(proximal_gradient, entries.grads, entries.params, **options)["params"]
    assert_agree(run_float64(oc.proximal_elastic_net(**options), entries).params, twin, 1e-12)


def test_without_a_penalty_is_the_learning_rate(entries):
    plain = run(oc.scale_by_learning_rate(0.1), entries).params
    assert_agree(run(oc.proximal_elastic_net(0.1, 0.0), entries).params, plain, PARAMS)


def regression(seed, n=60, d=12):
    """A design with a few relevant columns, and labels with noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, d))
    y = x @ np.where(np.arange(d) < 4, rng.normal(size=d), 0) + 0.1 * rng.normal(size=n)
    return x, y


def solve(tx, x, y, steps=2000, dtype=jnp.float32):
    x, y, p = jnp.asarray(x, dtype), jnp.asarray(y, dtype), jnp.zeros(x.shape[1], dtype)

    def step(carry, _):
        p, state = carry
        g = x.T @ (x @ p - y) / len(x)
        return oc.apply(tx, g, state, p), None

    return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), None, steps)[0][0])(p)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("l1, l2", [(0.1, 0.0), (0.1, 0.2)])
def test_its_fixed_point_solves_the_elastic_net(seed, l1, l2):
    x, y = regression(seed)
    p = np.asarray(solve(oc.proximal_elastic_net(0.2, l1, l2), x, y))
    twin = ElasticNet(alpha=l1 + l2, l1_ratio=l1 / (l1 + l2), fit_intercept=False, tol=1e-12, max_iter=100_000)
    expected = twin.fit(x, y).coef_
    np.testing.assert_allclose(p, expected, atol=2e-6)
    assert np.array_equal(p == 0, expected == 0) and 0 < np.sum(p == 0) < len(p)


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_on_an_orthonormal_design_soft_thresholds_least_squares(dtype):
    """With x.T @ x / n = 1 the lasso solution is the least squares solution, each entry shrunk by l1."""
    x, y = np.sqrt(8) * np.eye(8), np.sqrt(8) * np.array([2.0, -1.5, 0.25, -0.25, 0.125, 0.0, 1.0, 0.5])
    p = solve(oc.proximal_elastic_net(0.5, 0.3), x, y, steps=100, dtype=dtype)
    least_squares = y / np.sqrt(8)
    expected = np.sign(least_squares) * np.maximum(np.abs(least_squares) - 0.3, 0)
    chex.assert_type(p, dtype)
    np.testing.assert_allclose(np.asarray(p, np.float64), expected, atol=2e-6 if dtype == jnp.float32 else 2e-2)
    assert np.array_equal(np.asarray(p == 0), expected == 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("seed", range(3))
def test_makes_exact_zeros_through_update_too(seed, dtype):
    params = jax.tree.map(lambda p: p.astype(dtype), drawn(seed).params)
    zeros, tx = jax.tree.map(jnp.zeros_like, params), oc.chain(oc.proximal_elastic_net(0.5, 1.0))
    u, state = tx.update(zeros, tx.init(params), params)
    applied, _ = oc.apply(tx, zeros, state, params)
    for p, a, b in zip(*map(jax.tree.leaves, (params, optax.apply_updates(params, u), applied)), strict=True):
        small = np.abs(np.asarray(p, np.float32)) <= 0.5
        assert small.any() and not small.all()
        assert np.array_equal(np.asarray(a == 0), small) and np.array_equal(np.asarray(b == 0), small)


def test_the_threshold_moves_with_a_scheduled_rate():
    tx, p = oc.proximal_elastic_net(lambda step: 0.1 + 0.1 * step, 1.0), {"w": jnp.array([1.0])}
    state = tx.init(p)
    for expected in (0.9, 0.7, 0.4):
        u, state = tx.update({"w": jnp.zeros(1)}, state, p)
        p = optax.apply_updates(p, u)
        chex.assert_trees_all_close(p, {"w": jnp.array([expected])}, rtol=1e-6)


def test_asks_for_the_parameters():
    tx, p = oc.proximal_elastic_net(0.1, 0.1), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="proximal_elastic_net reads the parameters"):
        tx.update(p, tx.init(p))
