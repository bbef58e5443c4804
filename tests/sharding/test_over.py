"""ZeRO-1: the state split over an axis along which the parameters are copies."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.lax import with_sharding_constraint

import optchain as oc


@pytest.fixture
def mesh():
    return jax.make_mesh((4, 2), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)


def params_on(mesh):
    specs = {"tall": jax.P(), "wide": jax.P(), "odd": jax.P(), "both": jax.P(None, "model"), "bias": jax.P()}
    shapes = {"tall": (64, 16), "wide": (16, 64), "odd": (6, 3), "both": (16, 32), "bias": (64,)}
    keys = jax.random.split(jax.random.key(0), len(shapes))
    drawn = {name: jax.random.normal(key, shapes[name]) for name, key in zip(shapes, keys, strict=True)}
    return {name: jax.device_put(x, jax.NamedSharding(mesh, specs[name])) for name, x in drawn.items()}


def test_the_largest_axis_that_holds_two_entries_a_device_is_split(mesh):
    found = {name: tuple(x.sharding.spec) for name, x in oc.split_over(params_on(mesh), "data").items()}
    assert found["tall"] == ("data", None) and found["wide"] == (None, "data")
    assert found["both"] == (None, ("model", "data"))
    assert found["odd"] == () and found["bias"] == ()


def test_holes_and_what_is_split_already_stay(mesh):
    params = params_on(mesh) | {"hole": optax.MaskedNode()}
    once = oc.split_over(params, "data")
    assert once["hole"] == optax.MaskedNode()
    assert oc.split_over(once, "data") == once


def test_what_does_not_move_shifts_no_layout_and_needs_none(mesh):
    """Integers, keys, functions and None, of which each stands before a parameter that moves."""
    params, whole = params_on(mesh), jax.NamedSharding(mesh, jax.P())
    ids, key = jax.device_put((jnp.arange(8), jax.random.key(0)), whole)
    still = {"ids": ids, "key": key, "none": None, "act": jnp.tanh, "count": 3, "empty": jnp.zeros((0, 3))}
    mixed = {**params, "a": still, "p": dict(still)}
    split = oc.split_over(mixed, "data")
    assert split["a"]["act"] is jnp.tanh and split["a"]["count"] == 3 and split["a"]["none"] is None
    for tx in (oc.adamw(1e-2), optax.chain(optax.clip_by_global_norm(1.0), oc.adamw(1e-2))):
        found, expected = (jax.tree.leaves(oc.shardings(tx, tree, over="data")) for tree in (mixed, params))
        assert found == expected


@pytest.mark.parametrize("within", ["jit", "shard_map"])
@pytest.mark.parametrize("kind", ["Auto", "Explicit"])
def test_parameters_that_are_traced_are_refused(within, kind):
    mesh = jax.make_mesh((4, 2), ("data", "model"), (getattr(jax.sharding.AxisType, kind),) * 2)
    params = {"w": jax.device_put(jnp.ones((8, 8)), jax.NamedSharding(mesh, jax.P("data")))}
    for ask in (lambda p: oc.split_over(p, "data"), lambda p: oc.shardings(oc.adam(1e-3), p)):

        def asking(p, ask=ask):
            ask(p)
            return p

        mapped = jax.shard_map(asking, mesh=mesh, in_specs=jax.P("data"), out_specs=jax.P("data"))
        with pytest.raises(ValueError, match="parameter 'w' is traced, and .* before jit or shard_map"):
            jax.jit(mapped if within == "shard_map" else asking)(params)


def test_on_explicit_axes_the_state_is_split_and_the_step_is_the_same():
    mesh = jax.make_mesh((4, 2), ("data", "model"), (jax.sharding.AxisType.Explicit,) * 2)
    tx, params = oc.adamw(1e-2), params_on(mesh)
    layout, split = oc.shardings(tx, params, over="data"), oc.split_over(params, "data")
    split, whole = (jax.tree.map(lambda x: x.sharding, tree) for tree in (split, params))
    state = jax.jit(tx.init, out_shardings=layout)(params)
    alone = jax.tree.map(lambda v: jnp.asarray(np.asarray(v)), params)

    @jax.jit
    def step(params, state, x):
        grads = jax.grad(lambda p: sum(jnp.sum(jnp.tanh(v * x.mean()) ** 2) for v in p.values()))(params)
        params, state = oc.apply(tx, *jax.reshard((grads,), (split,)), state, jax.reshard(params, split))
        return jax.reshard(params, whole), state

    x, expected = jnp.linspace(0.5, 1.5, 8), (alone, tx.init(alone))
    for _ in range(3):
        expected, (params, state) = step_alone(tx, *expected, x), step(params, state, x)
    for one, other in zip(jax.tree.leaves(params), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    for x, chosen in zip(jax.tree.leaves(state), jax.tree.leaves(layout), strict=True):
        assert x.sharding.is_equivalent_to(chosen, x.ndim)


def test_each_device_holds_its_share_and_the_step_is_the_same(mesh):
    """And the compiler collects each matrix once, where it is told of the layouts as the docstring says."""
    tx, params = oc.adamw(1e-2), params_on(mesh)
    layout, whole = oc.shardings(tx, params, over="data"), jax.tree.map(lambda x: x.sharding, params)
    split = jax.tree.map(lambda x: x.sharding, oc.split_over(params, "data"))
    state = jax.jit(tx.init, out_shardings=layout)(params)
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(state) if x.ndim == 2)
    rows = 2 * 4 * ((64 * 16 + 16 * 64) // 4 + 16 * 32 // 8 + 6 * 3)
    assert held == rows

    def step(params, state, x):
        params = with_sharding_constraint(params, whole)
        grads = jax.grad(lambda p: sum(jnp.sum(jnp.tanh(v * x.mean()) ** 2) for v in p.values()))(params)
        grads, own = with_sharding_constraint((grads, params), (split, split))
        return oc.apply(tx, grads, state, own)

    x = jnp.linspace(0.5, 1.5, 8)
    compiled = jax.jit(step, out_shardings=(whole, layout))
    plain = jax.jit(lambda p, s, x: step_alone(tx, p, s, x))
    alone = jax.tree.map(lambda v: jnp.asarray(np.asarray(v)), params)
    expected, found = (alone, tx.init(alone)), (params, state)
    for _ in range(3):
        expected, found = plain(*expected, x), compiled(*found, x)
    for one, other in zip(jax.tree.leaves(found[0]), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-7)
    text = compiled.lower(params, state, x).compile().as_text()
    assert text.count(" all-gather(") + text.count(" all-gather-start(") <= 3  # tall, wide and both; XLA may join them


def step_alone(tx, params, state, x):
    grads = jax.grad(lambda p: sum(jnp.sum(jnp.tanh(v * x.mean()) ** 2) for v in p.values()))(params)
    return oc.apply(tx, grads, state, params)


def test_an_axis_that_the_mesh_lacks_is_named(mesh):
    with pytest.raises(ValueError, match=r"got over='dta'; the mesh of 'bias' has no such axis: did you mean 'data'\?"):
        oc.shardings(oc.adam(1e-3), params_on(mesh), over="dta")
