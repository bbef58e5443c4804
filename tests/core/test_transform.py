"""`apply`, `shardings` and the equality of definitions."""

import jax
import jax.numpy as jnp
import optax
import pytest

import optchain as oc


def test_equal_definitions_are_equal_and_different_ones_are_not():
    assert oc.adam(0.1) == oc.adam(0.1) and oc.adam(0.1) != oc.adam(0.2) and oc.adam(0.1) != oc.adamw(0.1)
    assert oc.scale(jnp.asarray(2.0)) == oc.scale(jnp.asarray(2.0)) != oc.scale(2.0)
    assert oc.adam(0.1) != optax.adam(0.1)
    mask = {"w": True}
    assert oc.add_decayed_weights(0.1, mask) == oc.add_decayed_weights(0.1, dict(mask))
    assert oc.add_decayed_weights(0.1, mask) != oc.add_decayed_weights(0.1, {"w": False})
    assert len({oc.adam(0.1), oc.adam(0.1), oc.adam(0.2)}) == 2


def test_traced_definitions_compare_by_identity():
    def f(x):
        a = oc.scale(x)
        return jnp.asarray(a == a) & ~jnp.asarray(a == oc.scale(x + 1))

    assert jax.jit(f)(1.0)


def test_shardings_of_optax_states_and_masks():
    mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    rows, everywhere = jax.NamedSharding(mesh, jax.P("x")), jax.NamedSharding(mesh, jax.P())
    params = jax.device_put({"w": jnp.ones((8, 3)), "b": jnp.ones(8)}, rows)
    tx = oc.chain(factored=optax.scale_by_factored_rms(), adam=oc.scale_by_adam(mask="w"), lr=oc.scale(-0.1))
    layouts = oc.shardings(tx, params)
    assert layouts["links"]["adam"]["scale_by_adam"]["mu"]["w"] == rows and layouts["step"] == everywhere
    state = jax.jit(tx.init, out_shardings=layouts)(params)
    assert state["links"]["adam"]["scale_by_adam"]["mu"]["w"].sharding == rows


def test_shardings_of_abstract_parameters():
    mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    rows = jax.NamedSharding(mesh, jax.P("x"))
    abstract = {"w": jax.ShapeDtypeStruct((8, 3), jnp.float32, sharding=rows)}
    assert oc.shardings(oc.adam(0.1), abstract)["links"]["adam"]["scale_by_adam"]["nu"]["w"] == rows
    with pytest.raises(ValueError, match="has no sharding"):
        oc.shardings(oc.adam(0.1), {"w": jax.ShapeDtypeStruct((8, 3), jnp.float32)})


def test_none_parameters_stay_none():
    tx = oc.adam(0.1)
    params = {"w": jnp.ones(2), "none": None}
    after, _ = oc.apply(tx, params, tx.init(params), params)
    assert after["none"] is None and after["w"].shape == (2,)


def test_shapes_of_parameters_make_the_shapes_of_their_state():
    """What begins as a copy of a parameter has no numbers there, within an optax transformation too."""
    tx = optax.chain(oc.lookahead(oc.adam(0.1), 5, 0.5), oc.accumulate(oc.chain(theirs=optax.sgd(0.1, 0.9)), 2))
    params = {"w": jnp.ones((2, 4), jnp.bfloat16), "count": jnp.ones((), int), "f": jnp.tanh, "none": None}
    shapes = {**params, "w": jax.ShapeDtypeStruct((2, 4), jnp.bfloat16), "count": jax.ShapeDtypeStruct((), int)}
    state, expected = tx.init(shapes), tx.init(params)
    assert jax.tree.structure(state) == jax.tree.structure(expected)
    assert all(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state))
    jax.tree.map(lambda x, y: (x.shape, x.dtype) == (y.shape, y.dtype) or pytest.fail(f"{x} {y}"), state, expected)
