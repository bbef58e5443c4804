import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree

import optchain as oc


def draws(*seeds):
    return [np.random.default_rng(seed).normal(size=(5, 3)) for seed in seeds]


def test_is_equation_10():
    g, p, old = draws(0, 1, 2)
    with jax.enable_x64(True):
        tx = oc.compensate_delay(0.3)
        params = {"w": jnp.asarray(p)}
        u, _ = tx.update({"w": jnp.asarray(g)}, tx.init(params), params, stale_params={"w": jnp.asarray(old)})
    assert_agree(u, {"w": g + 0.3 * g * g * (p - old)}, 1e-14)


def test_it_is_the_gradient_now_of_a_loss_whose_hessian_is_the_square_of_the_gradient():
    """Of -log(a + x), to second order in the way: there the square of the gradient is the second derivative."""
    tx, stale = oc.compensate_delay(1.0), {"x": jnp.float32(1.0)}
    slope = lambda x: {"x": -1 / (2 + x["x"])}  # noqa: E731
    for way in (0.1, 0.05):
        now = {"x": stale["x"] + way}
        u, _ = tx.update(slope(stale), tx.init(now), now, stale_params=stale)
        left, before = (abs(float(x["x"] - slope(now)["x"])) for x in (u, slope(stale)))
        assert left <= way**2 / 25 and before > 0.9 * way / 9


def test_where_nothing_has_moved_the_gradient_passes_bit_for_bit():
    params, tx = {"w": jnp.ones(3)}, oc.compensate_delay(2.0)
    g = {"w": jnp.array([3e38, -1e20, 0.1])}
    for stale in (params, None):
        u, _ = tx.update(g, tx.init(params), params, stale_params=stale)
        np.testing.assert_array_equal(u["w"], g["w"])


def test_what_would_be_infinite_is_the_largest_number():
    params, tx = {"w": jnp.ones(3)}, oc.compensate_delay(2.0)
    u, _ = tx.update({"w": jnp.full(3, 3e30)}, tx.init(params), params, stale_params={"w": jnp.array([0.0, 2.0, 1.0])})
    np.testing.assert_array_equal(u["w"], np.array([3.4028235e38, -3.4028235e38, 3e30], np.float32))


def test_it_asks_for_the_stale_parameters():
    params, tx = {"w": jnp.ones(3)}, oc.chain(oc.compensate_delay(), oc.sgd(0.1))
    with pytest.raises(ValueError, match="needs the extra argument `stale_params`, the parameters that the gradient"):
        oc.apply(tx, params, tx.init(params), params)
    with pytest.raises(ValueError, match=r"'w' has shape \(3,\) in the updates, \(2,\) in the values of stale"):
        oc.apply(tx, params, tx.init(params), params, stale_params={"w": jnp.ones(2)})
