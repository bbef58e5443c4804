import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

PARAMS = {"a": jnp.zeros((400, 250)), "b": jnp.zeros((100_000,))}


def noise(tx, steps=1, params=PARAMS):
    state = tx.init(params)
    for _ in range(steps):
        updates, state = jax.jit(tx.update)(params, state)
    return updates


def test_is_normal_with_the_variance_of_the_paper():
    """Mean, variance, skewness, kurtosis and tail of 100 000 numbers, each within 4 of its standard deviations."""
    for steps in (1, 3):
        x = np.asarray(noise(oc.add_noise(0.04, 0.55), steps)["b"], np.float64) / np.sqrt(0.04 / steps**0.55)
        n = x.size
        assert abs(x.mean()) < 4 / np.sqrt(n)
        assert abs((x**2).mean() - 1) < 4 * np.sqrt(2 / n)
        assert abs((x**3).mean()) < 4 * np.sqrt(15 / n)
        assert abs((x**4).mean() - 3) < 4 * np.sqrt(96 / n)
        tail = 0.0026998
        assert abs((np.abs(x) > 3).mean() - tail) < 4 * np.sqrt(tail / n)


def test_has_the_distribution_of_optax():
    ours, twin = noise(oc.add_noise(0.04, 0.55), 2), noise(optax.add_noise(0.04, 0.55, key=0), 2)
    shares = np.linspace(0.001, 0.999, 21)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(twin), strict=True):
        spread = np.quantile(np.asarray(x), shares) - np.quantile(np.asarray(y), shares)
        # At the 0.001 quantile the density is 0.0034: its estimate from 1e5 has a deviation of 0.03 sigma.
        assert np.abs(spread).max() < 6 * 0.03 * 0.2


def test_leaves_steps_and_keys_have_numbers_of_their_own():
    def flat(tx, steps=1):
        return [np.asarray(x).ravel() for x in jax.tree.leaves(noise(tx, steps))]

    one = oc.add_noise(1.0, 0.0, key=1)
    drawn = [*flat(one), *flat(one, 2), *flat(oc.add_noise(1.0, 0.0, key=2))]
    found = np.corrcoef(drawn) - np.eye(len(drawn))
    assert np.abs(found).max() < 5 / np.sqrt(1e5)
    chex.assert_trees_all_equal(flat(one), flat(one))


def test_is_the_same_however_arrays_are_sharded():
    params, tx = {"w": jnp.zeros((8, 6))}, oc.add_noise(1.0, 0.5)
    mesh = jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,))
    placed = jax.device_put(params, jax.NamedSharding(mesh, jax.P("x")))
    chex.assert_trees_all_equal(noise(tx, params=placed), noise(tx, params=params))


def test_is_added_to_the_gradient():
    params, tx = {"w": jnp.full(6, 3.0)}, oc.add_noise(0.01, 0.5)
    zeros = jax.tree.map(jnp.zeros_like, params)
    chex.assert_trees_all_close(noise(tx, params=params)["w"] - 3.0, noise(tx, params=zeros)["w"], atol=1e-6)


@pytest.mark.parametrize("key", [1.5, "0", None])
def test_a_key_that_is_no_whole_number_is_refused(key):
    with pytest.raises(ValueError, match="add_noise: key must be a whole number or a key of jax.random, got "):
        oc.add_noise(0.1, 0.5, key)
