import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc


def definition(gs, p, min_ratio, rate):
    for g in gs:
        least, n = min_ratio * np.sqrt(np.sum(p**2)), np.sqrt(np.sum(g**2))
        p = p + rate * (g * least / n if 0 < n < least else g)
    return {"params": p}


@pytest.mark.parametrize("min_ratio", [0.0, 0.05, 10.0])  # lifts none of the recorded updates, some, nearly all
def test_agrees_with_the_definition(recorded, min_ratio):
    tx, options = oc.floor_update_ratio(min_ratio), {"min_ratio": min_ratio, "rate": -0.001}
    exact = by_leaf(definition, recorded.grads, recorded.params, **options)["params"]
    assert_agree(run_float64(tx, recorded, -0.001).params, exact, 1e-11)
    assert_agree(run(tx, recorded, -0.001).params, exact, PARAMS)


def test_lifts_small_updates_to_the_floor_and_leaves_the_rest_alone():
    p = {"small": jnp.array([3.0, 4.0]), "large": jnp.array([3.0, 4.0]), "zero": jnp.ones(2), "born": jnp.zeros(2)}
    g = {"small": jnp.array([1e-6, 0]), "large": jnp.array([1.0, 0]), "zero": jnp.zeros(2), "born": jnp.ones(2)}
    tx = oc.floor_update_ratio(0.1)
    u, _ = tx.update(g, tx.init(p), p)
    np.testing.assert_allclose(u["small"], [0.5, 0.0], rtol=1e-6)
    assert all(np.array_equal(u[name], g[name]) for name in ("large", "zero", "born"))


def test_below_the_floor_it_is_the_trust_ratio(recorded):
    floor, trust = oc.floor_update_ratio(1e3), oc.scale_by_trust_ratio(trust_coefficient=1e3)
    kernels = jax.tree.map(lambda p: p + 0.1, recorded.params)
    given = recorded._replace(params=kernels)
    assert_agree(run(floor, given, 0.0).updates, run(trust, given, 0.0).updates, 1e-6)
