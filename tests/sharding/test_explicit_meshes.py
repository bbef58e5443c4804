"""Meshes with explicit axes that no context names: arrays bring their own, from an eager `init` to a donated step."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from techniques import REGISTERED, TECHNIQUES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.gather import laid_out
from optchain.core.rule import core_of
from optchain.inspect.laws.steps import every_extra

# Layers are sharded, and so is an axis that a view merges with another one.
SHAPES = {"w": (8, 8), "bias": (8,), "layers": (4, 8, 8), "heads": (8, 2, 4)}
SPECS = {"w": ("x", "y"), "bias": ("y",), "layers": ("y", None, "x"), "heads": ("x", None, "y")}
HEADS = {"heads": "d h k -> d (h k)"}


def mesh_of(kind=AxisType.Explicit):
    return jax.make_mesh((2, 2), ("x", "y"), (kind,) * 2, devices=jax.devices()[:4])


def drawn(seed):
    keys = jax.random.split(jax.random.key(seed), len(SHAPES))
    return {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, SHAPES.items(), strict=True)}


def placed(tree, mesh=None):
    mesh = mesh or mesh_of()
    return {name: jax.device_put(x, NamedSharding(mesh, PartitionSpec(*SPECS[name]))) for name, x in tree.items()}


def of_all(name):
    """A technique on all of the tree, but for a vector where it is one of matrices."""
    masked = {"mask": lambda path, p: path != "bias"} if "mask" in REGISTERED[name].example else {}
    return oc.over_layers(oc.as_matrices(build(name, **masked), HEADS), "layers")


def types(tree):
    return [str(jax.typeof(x)) for x in jax.tree.leaves(tree)]


def step_of(tx, **how):
    return jax.jit(lambda params, state, grads: oc.apply(tx, grads, state, params, **every_extra()), **how)


def require_a_step(tx):
    """The layouts of an eager and of a compiled init are the same; the first donated step keeps them, and is right."""
    params, grads = drawn(0), drawn(1)
    expected = step_of(tx)(params, tx.init(params), grads)
    sharded = placed(params)
    state = tx.init(sharded)
    before = types((sharded, state))
    assert types(jax.jit(tx.init)(sharded)) == types(state)
    found = step_of(tx, donate_argnums=(0, 1))(sharded, state, placed(grads))
    assert types(found) == before
    found, expected = ((stepped, oc.state_by_parameters(tx, held, stepped)) for stepped, held in (found, expected))
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4, err_msg=jax.tree_util.keystr(path))


def sort_of(name):
    """The definition and the core axes: what decides how a technique sees an array."""
    link = build(name).link
    rule = getattr(link, "rule", None)
    return type(link), rule is not None and core_of(rule, 2)


@pytest.mark.parametrize("name", one_of_each(TECHNIQUES, sort_of))
def test_a_step_keeps_the_layouts_of_init(name):
    """They are parts of the types on an explicit mesh, which tracing knows."""
    tx, sharded = of_all(name), placed(drawn(0))

    def both(params, grads):
        state = tx.init(params)
        return (params, state), oc.apply(tx, grads, state, params, **every_extra())

    avals = [str(aval) for aval in jax.jit(both).trace(sharded, sharded).jaxpr.out_avals]
    assert avals[: len(avals) // 2] == avals[len(avals) // 2 :]


@pytest.mark.parametrize("name", one_of_each(["scale_by_rowwise_adagrad", *TECHNIQUES], sort_of, pytest.mark.slow))
def test_a_donated_step_on_an_explicit_mesh_is_that_of_one_device(name):
    require_a_step(of_all(name))


CONTAINERS = {
    "chain": lambda tx: optax.chain(optax.clip(1.0), tx),
    "partition": lambda tx: optax.partition(
        {"own": tx, "other": optax.sgd(0.1)}, {name: "other" if name == "w" else "own" for name in SHAPES}
    ),
    "masked": lambda tx: optax.masked(tx, {name: name != "w" for name in SHAPES}),
    "finite": lambda tx: optax.apply_if_finite(tx, 3),
    "ours": lambda tx: oc.guard(oc.accumulate(oc.chain(optax.clip(1.0), tx), 1)),
}


@pytest.mark.parametrize("name", ["novograd", *[pytest.param(x, marks=pytest.mark.full) for x in ("adamw", "muon")]])
@pytest.mark.parametrize("container", one_of_each(CONTAINERS))
def test_containers_of_optax_hold_techniques_on_explicit_meshes(container, name):
    require_a_step(CONTAINERS[container](of_all(name)))


@pytest.mark.full
def test_an_eager_step_needs_no_context_either():
    tx, params = of_all("scale_by_novograd"), placed(drawn(0))
    updates, state = tx.update(placed(drawn(1)), tx.init(params), params)
    assert types((updates, state)) == types((params, tx.init(params)))


@pytest.mark.full
def test_a_context_changes_nothing():
    tx, params, grads = of_all("novograd"), placed(drawn(0)), placed(drawn(1))
    found = step_of(tx)(params, tx.init(params), grads)
    with jax.set_mesh(mesh_of()):
        other = step_of(tx)(params, tx.init(params), grads)
    assert types(found) == types(other)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-6)


def test_a_state_from_elsewhere_is_taken_to_the_mesh_of_its_gradients():
    """One that has been restored on a single device has no mesh."""
    tx, g = oc.scale_by_rowwise_adagrad(), drawn(0)["w"]
    expected, _ = tx.update(g, tx.init(g))
    sharded = jax.device_put(g, NamedSharding(mesh_of(), PartitionSpec("x", "y")))
    found, _ = jax.jit(tx.update)(sharded, tx.init(g))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_slots_begin_in_the_layout_of_the_axes_that_they_follow():
    params = placed(drawn(0))
    state = of_all("scale_by_rowwise_adagrad").init(params)["scale_by_rowwise_adagrad"]["sum_of_squares"]
    assert [tuple(jax.typeof(state[name]).sharding.spec) for name in ("w", "layers")] == [("x",), ("y", None)]
    assert len(state["w"].sharding.device_set) == 4 == math.prod(mesh_of().devices.shape)


def test_an_array_without_a_mesh_is_laid_out_on_the_other_ones():
    x = placed(drawn(0))["w"]
    assert str(jax.typeof(laid_out(jnp.ones((8, 8)), x, ("y", None)))) == "float32[8@y,8]"
    assert str(jax.typeof(laid_out(x, jnp.ones((8, 8)), (None, "x")))) == "float32[8,8@x]"
