"""Matrix techniques on meshes with explicit axes, on which a product across a sharded axis has no layout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc


@pytest.mark.parametrize("spec", [("x",), (None, "x"), ("x", "y")], ids=str)
def test_a_sharded_matrix_is_gathered_and_its_update_scattered(spec):
    mesh = jax.make_mesh((2, 2), ("x", "y"), (jax.sharding.AxisType.Explicit,) * 2, devices=jax.devices()[:4])
    g, tx = jax.random.normal(jax.random.key(0), (8, 4)), oc.scale_by_muon()
    wanted, _ = tx.update(g, tx.init(g))
    with jax.set_mesh(mesh):
        sharded = jax.device_put(g, jax.P(*spec))
        found, state = jax.jit(lambda g: tx.update(g, tx.init(g)))(sharded)
    assert (
        jax.typeof(found).sharding == jax.typeof(state["scale_by_muon"]["mu"]).sharding == jax.typeof(sharded).sharding
    )
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_layers_may_stay_on_their_devices():
    mesh = jax.make_mesh((2,), ("x",), (jax.sharding.AxisType.Explicit,), devices=jax.devices()[:2])
    g, tx = jax.random.normal(jax.random.key(0), (2, 6, 4)), oc.over_layers(oc.scale_by_muon(), "*")
    wanted, _ = tx.update({"w": g}, tx.init({"w": g}))
    with jax.set_mesh(mesh):
        sharded = {"w": jax.device_put(g, jax.P("x"))}
        step = jax.jit(lambda g: tx.update(g, tx.init(g))[0])
        found = step(sharded)
    assert "all-gather" not in step.lower(sharded).compile().as_text()
    np.testing.assert_allclose(found["w"], wanted["w"], atol=1e-5)
    assert jnp.shape(found["w"]) == (2, 6, 4)
