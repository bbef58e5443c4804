"""The layouts of states: each device holds its share of every slot, and a step on them is that of one device."""

import functools
import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from techniques import RULES, build, updated
from techniques import kind as technique_kind
from tiers import one_of_each

import optchain as oc

MESHES = {"rows": ((8,), ("x",)), "columns": ((8,), (None, "x")), "both": ((2, 4), ("x", "y"))}
MATRIX_TECHNIQUES = [name for name, rule in RULES.items() if rule.core_ndim == 2]
# One tree for all that a technique of matrices may meet: two of one shape, layers, a view.
# The matrices are square: the eigenvectors to an eigenvalue of 0 are any.
SHAPES = {"w": (8, 8), "v": (8, 8), "layers": (4, 8, 8), "heads": (8, 2, 4)}
SPECS = {"w": ("x", "y"), "v": (None, "x"), "layers": ("y", None, "x"), "heads": ("x", None, "y")}


def mesh_of(shape, kind=AxisType.Auto):
    names = ("x", "y")[: len(shape)]
    return jax.make_mesh(shape, names, (kind,) * len(shape), devices=jax.devices()[: math.prod(shape)])


def placed(tree, specs, mesh):
    return {name: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*specs[name]))) for name, x in tree.items()}


def drawn(seed):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)}


def spec_of(layout):
    """What says how the axes are laid out, without the None that end it."""
    names = tuple(layout.spec)
    while names and names[-1] is None:
        names = names[:-1]
    return names


@pytest.mark.parametrize("name", one_of_each(RULES, technique_kind))
def test_each_device_holds_its_share(name):
    tx = build(name)
    for shape, spec in MESHES.values():
        params = placed({"w": jnp.ones((64, 128))}, {"w": spec}, mesh_of(shape))
        state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)
        # One number for a row, a column or a parameter stays where these are.
        matrices = [x for x in jax.tree.leaves(state) if x.ndim >= 2]
        for device in range(8):
            held = sum(x.addressable_shards[device].data.nbytes for x in matrices)
            assert held <= 1.2 / 8 * sum(x.nbytes for x in matrices)


def test_mesh_axes_go_along_the_first_axis_that_they_divide_or_nowhere():
    def layouts(shape, spec, mesh):
        params = placed({"w": jnp.ones(shape)}, {"w": spec}, mesh_of(mesh))
        found = oc.shardings(oc.scale_by_shampoo(), params)["scale_by_shampoo"]
        return tuple(found["left"]["w"].spec), tuple(found["right"]["w"].spec)

    both = (None, ("x", "y"), None)
    assert layouts((64, 128), ("x", "y"), (2, 4)) == (both, (None, ("y", "x"), None))
    assert layouts((4, 8), ("x", "y"), (2, 4)) == ((None, "x", "y"), (None, ("y", "x"), None))
    assert layouts((3, 4), (None, "y"), (2, 4)) == ((None, None, None), (None, "y", None))
    assert layouts((8, 8), (("x", "y"),), (2, 4)) == (both, both)


def test_slots_follow_rows_and_columns_through_layers_and_views():
    params = placed(
        {"w": jnp.ones((4, 16, 32)), "c": jnp.ones((2, 3, 8, 16))}, {"w": ("y", "x"), "c": ()}, mesh_of((2, 4))
    )
    factored = oc.over_layers(oc.scale_by_came(mask="w"), "w")
    found = oc.shardings(factored, params)["scale_by_came"]
    assert tuple(found["nu_row"]["w"].spec) == ("y", "x") and tuple(found["nu_col"]["w"].spec) == ("y", None)
    scalars = oc.over_layers(oc.scale_by_novograd(mask="w"), "w")
    assert tuple(oc.shardings(scalars, params)["scale_by_novograd"]["nu"]["w"].spec) == ("y",)


@pytest.mark.parametrize(
    "view, spec, nu",
    [
        ("h w i o -> (h w i) o", ("x", None, None, "y"), ("y",)),  # one number for each output
        ("h w i o -> (h w) o i", ("x", None, "y", None), ("x", "y")),
        ("h w i o -> h w i o", ("x", None, "y", None), ("x", None, None)),  # a matrix for each place of the kernel
        ("h w i o -> i o (h w)", ("x", None, "y", None), (("y", "x"), None)),
    ],
)
def test_an_axis_that_a_view_merges_is_not_followed(view, spec, nu):
    params = placed({"c": jnp.ones((2, 3, 8, 16))}, {"c": spec}, mesh_of((2, 4)))
    tx = oc.as_matrices(oc.scale_by_normuon(), {"c": view})
    layouts = oc.shardings(tx, params)["scale_by_normuon"]
    assert tuple(layouts["mu"]["c"].spec) == spec and tuple(layouts["nu"]["c"].spec) == nu
    jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)


def test_optax_states_holes_and_named_tuples():
    mesh = mesh_of((2, 4))
    params = placed({"w": jnp.ones((8, 16)), "b": jnp.ones(8)}, {"w": ("x", "y"), "b": ("x",)}, mesh)
    inner = optax.masked(optax.chain(optax.scale_by_adam(), oc.scale_by_novograd()), {"w": True, "b": False})
    tx = oc.chain(inner=inner, group=oc.groups(oc.scale_by_shampoo(mask="w"), {"b": oc.FROZEN, "*": {}}))
    layouts = oc.shardings(tx, params)
    assert jax.tree.structure(layouts) == jax.tree.structure(jax.eval_shape(tx.init, params))
    adam, novograd = layouts["links"]["inner"].inner_state
    assert tuple(adam.mu["w"].spec) == ("x", "y") and isinstance(adam.mu["b"], optax.MaskedNode)
    assert novograd["scale_by_novograd"]["nu"]["w"].spec == PartitionSpec()
    left = layouts["links"]["group"]["inner"]["scale_by_shampoo"]["left"]
    assert tuple(left["w"].spec) == (None, ("x", "y"), None) and isinstance(left["b"], optax.MaskedNode)
    state = jax.jit(tx.init, out_shardings=layouts)(params)
    abstract = jax.tree.map(lambda p: jax.ShapeDtypeStruct(p.shape, p.dtype, sharding=p.sharding), params)
    assert oc.shardings(tx, abstract) == layouts == jax.tree.map(lambda x: x.sharding, state)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("name", one_of_each(MATRIX_TECHNIQUES))
def test_a_step_on_a_mesh_is_that_of_one_device(name, kind):
    tx = oc.over_layers(oc.as_matrices(build(name), {"heads": "d h k -> d (h k)"}), "layers")
    params, grads = drawn(0), [drawn(1), drawn(2)]

    def steps(init, step, params, grads):
        state = init(params)
        for g in grads:
            updates, state = step(g, state, params)
        return updates, state

    update = functools.partial(updated, tx)
    expected = steps(tx.init, jax.jit(update), params, grads)
    mesh = mesh_of((2, 2), kind)
    sharded, given = placed(params, SPECS, mesh), [placed(g, SPECS, mesh) for g in grads]
    layouts, own = oc.shardings(tx, sharded), jax.tree.map(lambda p: p.sharding, sharded)
    init = jax.jit(tx.init, out_shardings=layouts)
    # On an explicit mesh the layouts are part of the types, and the law itself keeps them.
    out = None if kind == AxisType.Explicit else (own, layouts)
    found = steps(init, jax.jit(update, out_shardings=out), sharded, given)
    assert jax.tree.map(lambda x: spec_of(x.sharding), found) == jax.tree.map(spec_of, (own, layouts))
    found, expected = (jax.tree.map(np.asarray, x) for x in (found, expected))
    chex.assert_trees_all_close(found, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_unequal_parts_on_a_mesh_are_those_of_one_device(kind):
    """Vectors of several parts are spread as other slots with more numbers than an axis is long."""
    tx = oc.as_matrices(oc.chain(oc.scale_by_shampoo(b=0.9), oc.scale_by_muon()), {"qkv": "d (4+1+1 k) -> d (4+1+1 k)"})
    params, grads = ({"qkv": jax.random.normal(jax.random.key(seed), (8, 24))} for seed in range(2))
    expected, _ = tx.update(grads, tx.init(params), params)
    mesh = mesh_of((2, 4), kind)
    params, grads = (placed(tree, {"qkv": ("x", "y")}, mesh) for tree in (params, grads))
    layouts = oc.shardings(tx, params)
    state = jax.jit(tx.init, out_shardings=layouts)(params)
    left = state["links"]["scale_by_shampoo"]["scale_by_shampoo"]["left"]["qkv"]
    assert left.shape == (3 * 8 * 8,)
    assert spec_of(left.sharding) == (("x", "y"),)
    out = None if kind == AxisType.Explicit else (jax.tree.map(lambda p: p.sharding, params), layouts)
    updates, after = jax.jit(tx.update, out_shardings=out)(grads, state, params)
    np.testing.assert_allclose(updates["qkv"], expected["qkv"], rtol=1e-3, atol=1e-4)
    assert jax.tree.map(lambda x: spec_of(x.sharding), after) == jax.tree.map(spec_of, layouts)
