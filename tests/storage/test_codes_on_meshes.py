"""Slots in codes on meshes: the step of one device, laid out as parameters, silent where devices hold whole blocks."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

import optchain as oc

LAYOUTS = {
    "w": ((64, 1024), jax.P("x", "y")),
    "tall": ((8192,), jax.P("x")),
    "cut": ((64, 96), jax.P(None, "y")),  # two shards cut a block
    "conv": ((3, 4, 8, 24), jax.P(None, "x", None, "y")),
    "heads": ((64, 8, 24), jax.P("x", "y")),
}


def on_mesh(kind):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))
    return {
        name: jax.device_put(jax.random.normal(jax.random.key(0), shape), jax.NamedSharding(mesh, spec))
        for name, (shape, spec) in LAYOUTS.items()
    }


@pytest.mark.parametrize("slots", ["int8", pytest.param("int4", marks=pytest.mark.full)])
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_a_step_on_a_mesh_is_that_of_one_device(kind, slots):
    tx, params = oc.precision(oc.adamw(1e-3), slots=slots, min_size=0), on_mesh(kind)
    layouts = oc.shardings(tx, params)
    state = jax.jit(tx.init, out_shardings=layouts)(params)
    grads = jax.tree.map(lambda x: x * 0.1, params)
    after, new = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))(grads, state, params)
    alone, local = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)), (grads, params))
    expected, _ = oc.apply(tx, alone, tx.init(local), local)
    for name in params:
        np.testing.assert_allclose(np.asarray(after[name]), np.asarray(expected[name]), atol=1e-6)
    codes = new["links"]["adam"]["scale_by_adam"]["mu"]["codes"]
    assert codes["w"].sharding.spec == jax.P("x", "y")
    assert codes["w"].nbytes == params["w"].nbytes // (4 if slots == "int8" else 8)


def test_whole_blocks_on_each_device_need_no_communication():
    tx, params = oc.precision(oc.scale_by_adam(), slots="int8"), {"w": on_mesh(AxisType.Auto)["w"]}
    state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)
    text = jax.jit(lambda g, s: tx.update(g, s)).lower(params, state).compile().as_text()
    assert not re.findall(r"(all-gather|all-reduce|all-to-all|collective-permute)\(", text or "")
