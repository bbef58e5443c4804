import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc

ONES = {"a": jnp.ones((200, 500)), "b": jnp.ones(100_000)}


def updates(tx, steps=1):
    state = tx.init(ONES)
    for _ in range(steps):
        u, state = tx.update(ONES, state)
    return u


@pytest.mark.parametrize("density", [0.05, 0.5])
def test_keeps_the_part_that_it_says(density):
    for x in updates(oc.keep_random(density)).values():
        assert abs((x != 0).mean() - density) < 4 * np.sqrt(density * (1 - density) / x.size)
        assert set(np.unique(x).tolist()) == {0.0, 1.0}


def test_rescaled_it_is_right_on_average():
    x = updates(oc.keep_random(0.2, rescale=True))["b"]
    assert set(np.unique(x).tolist()) == {0.0, 5.0} and abs(x.mean() - 1) < 4 * 2 / np.sqrt(x.size)


def test_steps_leaves_and_seeds_differ():
    one = updates(oc.keep_random(0.5))
    for other in (updates(oc.keep_random(0.5), 2)["a"], updates(oc.keep_random(0.5, seed=1))["a"]):
        assert abs((one["a"] == other).mean() - 0.5) < 0.01
    assert abs((one["a"].reshape(-1) == one["b"]).mean() - 0.5) < 0.01


def test_with_density_one_all_passes():
    assert all((x == 1).all() for x in updates(oc.keep_random(1.0)).values())


def test_is_the_same_however_sharded():
    mesh = jax.make_mesh((4, 2), ("x", "y"), (jax.sharding.AxisType.Auto,) * 2)
    g, tx = {"w": jax.random.normal(jax.random.key(0), (16, 8))}, oc.keep_random(0.5)
    placed = jax.device_put(g, jax.NamedSharding(mesh, jax.P("x", "y")))
    one, other = (jax.jit(tx.update)(x, tx.init(g))[0]["w"] for x in (g, placed))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("density", [0.0, 1.5])
def test_refuses_a_density_out_of_range(density):
    with pytest.raises(ValueError, match=r"density must lie in \(0, 1\]"):
        oc.keep_random(density)
