"""Packed leaves: where they lie, the steps of single leaves, what is sent on a mesh, and what is refused."""

import pickle

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

import optchain as oc
from optchain.inspect.collectives import collectives
from optchain.packing.packed_tree import PackedTree

SHAPES = {
    "a": {"kernel": (4, 8), "bias": (8,)},
    "b": {"kernel": (4, 8), "bias": (8,)},
    "out": {"kernel": (8, 3), "bias": (3,)},
    "scale": (),
}


def drawn(seed=0, dtype=jnp.float32, shapes=SHAPES):
    shapes, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(seed), len(shapes))
    return treedef.unflatten([jax.random.normal(key, s, dtype) for key, s in zip(keys, shapes, strict=True)])


def buffers(tx, params=None):
    packed = oc.pack(tx, drawn() if params is None else params)
    return {key: x.shape for key, x in packed.buffers.items()}


def after_three_steps(tx, params, grads, **extra):
    step, state = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p, **extra)), tx.init(params)
    for g in grads:
        params, state = step(g, state, params)
    return params, state


def require_same_steps(inner, params=None, outside=lambda tx: tx, rtol=1e-5, **extra):
    """With packed slots alone and with packed parameters."""
    params = drawn() if params is None else params
    tx = outside(oc.packed(inner))
    grads = [jax.tree.map(lambda x, i=i: jnp.cos(i + 3 * x), params) for i in range(3)]
    alone, state = after_three_steps(outside(inner), params, grads, **extra)
    plain, _ = after_three_steps(tx, params, grads, **extra)
    together, packed_state = after_three_steps(tx, oc.pack(tx, params), [oc.pack(tx, g) for g in grads], **extra)
    for found in (plain, oc.unpack(together)):
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
            assert x.dtype == y.dtype and x.shape == y.shape
            np.testing.assert_allclose(np.float32(x), np.float32(y), rtol=rtol, atol=1e-6)
    return state, packed_state


def test_elementwise_leaves_lie_side_by_side_and_others_in_stacks():
    assert buffers(oc.packed(oc.adamw(1e-3))) == {"flat": (108,)}
    assert buffers(oc.packed(oc.scale_by_shampoo())) == {
        "stack:8": (2, 8),
        "stack:4x8": (2, 4, 8),
        "stack:3": (1, 3),
        "stack:8x3": (1, 8, 3),
        "stack:scalar": (1,),
    }
    muon = buffers(oc.packed(oc.muon(0.02)))
    assert muon == {"flat": (44,), "stack:4x8": (2, 4, 8)}  # its last kernel is no hidden one


def test_leaves_that_are_treated_differently_lie_apart():
    assert buffers(oc.packed(oc.adamw(1e-3, mask="*/kernel"))) == {"flat": (20,), "flat#2": (88,)}
    rules = {"a/*": {"learning_rate": 0.1}, "b/*": oc.FROZEN, "*": {}}
    assert buffers(oc.packed(oc.groups(oc.adamw(1e-3), rules))) == {"flat": (40,), "flat#2": (40,), "flat#3": (28,)}
    layers = oc.over_layers(oc.scale_by_muon(mask="*/kernel"), {"a/kernel": 1})
    with pytest.raises(ValueError, match="looks across 2 axes"):
        oc.packed(layers).init(drawn())
    mixed = {**drawn(), "scale": jnp.ones((), jnp.bfloat16)}
    assert buffers(oc.packed(oc.adamw(1e-3)), mixed) == {"flat": (107,), "flat:bfloat16": (1,)}


def test_a_leaf_that_is_called_by_its_name_lies_alone():
    assert buffers(oc.packed(oc.chain(oc.add_noise(0.1, 0.5, mask="a/*"), oc.sgd(0.1)))) == {
        "a/bias": (8,),
        "a/kernel": (4, 8),
        "flat": (68,),
    }


@pytest.mark.parametrize(
    "inner",
    [
        oc.chain(clip=oc.clip_by_global_norm(0.1), adam=oc.adamw(1e-2, mask=oc.is_kernel)),
        oc.groups(oc.adamw(1e-2), {"a/*": {"learning_rate": 0.1}, "b/*": oc.FROZEN, "*/kernel": oc.sgd(0.1), "*": {}}),
        oc.over_layers(oc.scale_by_muon(mask="stack"), "stack"),
        oc.chain(oc.scale_by_muon(mask="heads"), oc.scale(-0.1)),
        oc.chain(oc.add_noise(0.1, 0.5, mask="heads"), oc.clip_by_leaf_norm(0.1), oc.scale(-1.0)),
    ],
    ids=["chain", "groups", "layers", "one", "noise"],
)
def test_the_steps_are_those_of_single_leaves(inner):
    extra = {"stack": (3, 4, 4), "heads": (4, 6), "two": {"heads": (4, 6)}}
    state, packed = require_same_steps(inner, drawn(0, shapes={**SHAPES, **extra}))
    if "metrics" in state:
        metrics = oc.metrics(packed)
        for name, x in oc.metrics(state).items():
            np.testing.assert_allclose(metrics[name], x, rtol=1e-5)


def test_a_preset_is_packed_as_a_whole():
    require_same_steps(oc.muon(0.02))


def test_views_show_each_matrix_of_a_stack():
    shapes = {"a": {"query": (8, 2, 4)}, "b": {"query": (8, 2, 4)}}
    inner = oc.chain(oc.as_matrices(oc.scale_by_muon(), {"*/query": "i h o -> i (h o)"}), oc.scale(-0.1))
    require_same_steps(inner, drawn(0, shapes=shapes))
    assert buffers(oc.packed(inner), drawn(0, shapes=shapes)) == {"stack:8x2x4": (2, 8, 2, 4)}


def test_bfloat16_parameters_are_rounded_once():
    require_same_steps(oc.adamw(1e-2), drawn(0, jnp.bfloat16), rtol=0)


def test_wrappers_stand_around():
    require_same_steps(oc.adamw(1e-2), outside=lambda tx: oc.guard(oc.accumulate(tx, 2), max_value=None))
    require_same_steps(oc.adamw(1e-2), outside=lambda tx: oc.chain(oc.clip_by_global_norm(0.1), tx))
    require_same_steps(oc.adamw(1e-2), outside=optax.with_extra_args_support)


def test_trees_among_the_extra_arguments_are_packed_too():
    params = drawn()
    curvature = jax.tree.map(jnp.abs, params)
    inner = oc.chain(oc.scale_by_adahessian(), oc.scale(-0.1))
    tx = oc.packed(inner)
    alone, _ = oc.apply(inner, params, inner.init(params), params, hessian=curvature)
    together, _ = oc.apply(tx, params, tx.init(params), params, hessian=curvature)
    jax.tree.map(np.testing.assert_array_equal, together, alone)


def test_what_does_not_move_stays_outside_of_a_plain_tree():
    params = {"w": jnp.ones(3), "step": jnp.zeros((), int), "none": None, "key": jax.random.key(0)}
    tx = oc.packed(oc.sgd(0.5))
    grads = {"w": jnp.ones(3), "step": None, "none": None, "key": None}
    new, _ = oc.apply(tx, grads, tx.init(params), params)
    np.testing.assert_array_equal(new["w"], [0.5, 0.5, 0.5])
    assert new["step"] is params["step"] and new["none"] is None


def test_a_number_among_the_extra_arguments_is_for_all_leaves():
    for value in (jnp.float32(2), 2.0):
        require_same_steps(oc.polyak_sgd(), jnp.arange(1.0, 4.0), value=value)  # a tree of one array, as the number is


@pytest.mark.parametrize("inner", [None, {"a": oc.FROZEN, "*": {}}], ids=["none", "frozen"])
def test_trees_among_the_extra_arguments_may_have_more_leaves(inner):
    law = oc.chain(oc.scale_by_adahessian(), oc.scale(-0.1))
    law = law if inner is None else oc.groups(law, inner)
    params = {"a": jnp.ones(3), "b": jnp.ones(2), "none": None, "step": jnp.zeros((), int)}
    grads = {**params, "step": None}
    alone, _ = oc.apply(law, grads, law.init(params), params, hessian=grads)
    together, _ = oc.apply(oc.packed(law), grads, oc.packed(law).init(params), params, hessian=grads)
    jax.tree.map(np.testing.assert_array_equal, together, alone)


@pytest.mark.parametrize("params", [{}, {"a": None, "n": jnp.ones(3, int)}], ids=["empty", "nothing moves"])
def test_a_tree_without_leaves_takes_steps(params):
    tx = oc.packed(oc.adamw(1e-3))
    grads, state = dict.fromkeys(params), tx.init(params)
    new, after = oc.apply(tx, grads, state, params)
    assert new == params and jax.tree.structure(after) == jax.tree.structure(state)
    packed = oc.pack(tx, {})
    assert oc.unpack(oc.apply(tx, packed, tx.init(packed), packed)[0]) == {}


def test_shapes_are_packed_as_shapes():
    tx = oc.packed(oc.chain(oc.scale_by_muon(mask=oc.is_kernel), oc.scale(-1.0)))
    arrays, shapes = (oc.pack(tx, params) for params in (drawn(), jax.eval_shape(drawn)))
    assert jax.tree.leaves(jax.eval_shape(lambda: arrays)) == jax.tree.leaves(shapes)
    assert jax.tree.structure(tx.init(shapes)) == jax.tree.structure(tx.init(arrays))


def test_inside_shard_map_nothing_is_split():
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    tx, params = oc.packed(oc.sgd(0.5), axis="data"), {"w": jnp.ones(3)}
    step = lambda params: oc.apply(tx, params, tx.init(params), params)[0]  # noqa: E731
    new = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=jax.P(), out_specs=jax.P()))(params)
    np.testing.assert_array_equal(new["w"], [0.5, 0.5, 0.5])


def test_padding_does_not_count_as_entries():
    mesh = jax.make_mesh((8,), ("data",), (AxisType.Auto,))
    tx = oc.packed(oc.chain(oc.clip_by_zscore(), oc.sgd(0.1)), axis="data")
    with pytest.raises(ValueError, match="clip_by_zscore may depend on how many entries"):
        tx.init(jax.device_put({"w": jnp.ones(7)}, jax.NamedSharding(mesh, jax.P())))
    tx.init(jax.device_put({"w": jnp.ones(8)}, jax.NamedSharding(mesh, jax.P())))


def test_gradients_come_packed_by_one_concatenation():
    tx = oc.packed(oc.adamw(1e-3))
    params = oc.pack(tx, drawn())

    def loss(params):
        return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(oc.unpack(params)))

    grads = jax.grad(loss)(params)
    assert isinstance(grads, PackedTree)
    np.testing.assert_allclose(grads.buffers["flat"], jnp.cos(params.buffers["flat"]), rtol=1e-6)
    names = [str(eqn.primitive) for eqn in jax.make_jaxpr(jax.grad(loss))(params).eqns]
    assert names.count("concatenate") == 1 and "pad" not in names
    jax.jvp(loss, (params,), (grads,))  # forwards too
    assert jax.vmap(lambda p: loss(p))(jax.tree.map(lambda x: jnp.stack([x, x]), params)).shape == (2,)


@pytest.mark.parametrize("make", [lambda: oc.adamw(1e-3), lambda: oc.chain(oc.scale_by_muon(), oc.scale(-0.1))])
def test_a_step_of_packed_parameters_does_not_grow_with_the_leaves(make):
    def equations(number):
        tx, params = oc.packed(make()), {f"w{i}": jnp.ones((4, 4)) for i in range(number)}
        params = oc.pack(tx, params)
        return len(jax.make_jaxpr(lambda p, s: oc.apply(tx, p, s, p))(params, tx.init(params)).eqns)

    assert equations(3) == equations(30)


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_flat_buffers_are_split_over_an_axis(kind):
    mesh = jax.make_mesh((8,), ("data",), (kind,))
    inner = oc.chain(oc.clip_by_global_norm(0.1), oc.adamw(1e-2))
    tx, alone = oc.packed(inner, axis="data"), drawn()
    params = jax.device_put(alone, jax.NamedSharding(mesh, jax.P()))
    x = jax.device_put(jnp.arange(16.0), jax.NamedSharding(mesh, jax.P("data")))
    packed = oc.pack(tx, params)
    assert packed.buffers["flat"].shape == (112,) and packed.buffers["flat"].sharding.spec == jax.P("data")

    def loss(params, x):
        return jnp.mean(sum(jnp.sum(jnp.sin(p)) for p in jax.tree.leaves(params)) * x)

    def on_tree(params, state, x):
        return oc.apply(inner, jax.grad(loss)(params, x), state, params)

    def on_buffers(params, state, x):
        return oc.apply(tx, jax.grad(lambda p, x: loss(oc.unpack(p), x))(params, x), state, params)

    def begun(params):
        return jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)

    state = begun(packed)
    mu = oc.state_by_parameters(tx, state, packed)["inner"]["links"]["adamw"]["links"]["adam"]["scale_by_adam"]["mu"]
    assert jax.tree.map(jnp.shape, mu) == jax.tree.map(jnp.shape, alone)
    for start in (packed, params):  # of a plain tree the slots alone are packed
        slots = begun(start)["inner"]["links"]["adamw"]["links"]["adam"]["scale_by_adam"]["nu"]
        assert jax.tree.leaves(slots)[0].sharding.spec == jax.P("data")
    expected, own = alone, inner.init(alone)
    layouts = jax.tree.map(lambda x: x.sharding, (packed, state))
    step = jax.jit(on_buffers, out_shardings=layouts).lower(packed, state, x).compile()
    for _ in range(3):
        expected, own = on_tree(expected, own, jnp.arange(16.0))
        packed, state = step(packed, state, x)
    for a, b in zip(jax.tree.leaves(oc.unpack(packed)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert collectives(step.as_text())["all-gather"].count == 1


def test_states_survive_pickling():
    tx = oc.packed(oc.adamw(1e-3))
    params = oc.pack(tx, drawn())
    params, state = oc.apply(tx, params, tx.init(params), params)
    after = pickle.loads(pickle.dumps((params, state)))
    assert jax.tree.structure(after) == jax.tree.structure((params, state))
    oc.apply(tx, params, after[1], after[0])


def test_a_step_may_go_on_without_packing():
    inner = oc.adamw(1e-2)
    tx, params = oc.packed(inner), drawn()
    _, state = oc.apply(tx, params, tx.init(params), params)
    trees = oc.state_by_parameters(tx, state, params)["inner"]
    assert jax.tree.structure(trees) == jax.tree.structure(inner.init(params))
    oc.apply(inner, params, trees, params)
