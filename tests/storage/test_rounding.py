"""Stochastic rounding: unbiased, between the neighbors, the same however sharded."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.storage.rounding import random_bits, stochastic_round

N = 200_000


def rounded(value, n=N, step=1):
    return stochastic_round(jnp.full(n, value, jnp.float32), random_bits((n,), 0, step, "w")).astype(jnp.float32)


@pytest.mark.parametrize("value", [1.0 + 2.0**-10, -(1.0 + 3 * 2.0**-9), 3.14159, -1e-20, 1e30, 2.0**-126])
def test_is_one_of_the_neighbors_and_unbiased(value):
    x, found = np.float32(value), np.asarray(rounded(value), np.float64)
    low, high = np.unique(found).min(), np.unique(found).max()
    assert len(np.unique(found)) <= 2 and low <= x <= high
    # Five standard errors of the mean of N draws from two points.
    assert abs(found.mean() - np.float64(x)) <= 5 * (high - low) / 2 / np.sqrt(N) + 1e-12 * abs(value)


def test_leaves_what_bfloat16_expresses_and_what_is_not_finite():
    exact = jnp.array([0.0, -0.0, 1.0, -2.5, 2.0**-130, jnp.inf, -jnp.inf])
    for step in range(20):
        np.testing.assert_array_equal(stochastic_round(exact, random_bits((7,), 0, step, "w")), exact)
    assert jnp.isnan(stochastic_round(jnp.array([jnp.nan]), jnp.array([2**32 - 1], jnp.uint32)))[0]


def test_bits_are_uniform_and_independent_of_one_another():
    bits = np.asarray(random_bits((N,), 0, 1, "w"))
    for other in (random_bits((N,), 0, 2, "w"), random_bits((N,), 1, 1, "w"), random_bits((N,), 0, 1, "v")):
        agree = [np.mean(((bits ^ np.asarray(other)) >> i) & 1) for i in range(32)]
        assert np.abs(np.array(agree) - 0.5).max() < 5 * 0.5 / np.sqrt(N)
    ones = [np.mean((bits >> i) & 1) for i in range(32)]
    assert np.abs(np.array(ones) - 0.5).max() < 5 * 0.5 / np.sqrt(N)
    # Neighbors in the array and in time are uncorrelated.
    u = bits / 2**32 - 0.5
    v = np.asarray(random_bits((N,), 0, 2, "w")) / 2**32 - 0.5
    for a, b in ((u[1:], u[:-1]), (u, v)):
        assert abs(np.mean(a * b) * 12) < 5 / np.sqrt(N)
    assert len(np.unique(bits)) > 0.99 * N


def test_is_the_same_however_sharded():
    mesh = jax.make_mesh((4, 2), ("x", "y"), (jax.sharding.AxisType.Auto,) * 2)
    x = jax.random.normal(jax.random.key(0), (64, 32))
    f = jax.jit(lambda x: stochastic_round(x, random_bits(x.shape, 3, 7, "w")))
    alone = f(x)
    for spec in (jax.P("x"), jax.P(None, "x"), jax.P("x", "y"), jax.P(("x", "y"))):
        chex.assert_trees_all_equal(f(jax.device_put(x, jax.NamedSharding(mesh, spec))), alone)


def test_bits_are_those_of_every_run():
    """A run is repeated from its seed, on any machine and in any process: these numbers must never change."""
    assert random_bits((3,), 1, 2, "dense/kernel").tolist() == [4279736862, 658065429, 973810524]
    assert random_bits((), 1, 2, "dense/kernel").item() == 4279736862
