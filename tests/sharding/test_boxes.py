"""Parameters in the boxes of Flax, whose names are the mesh axes of each axis: those of a slot are what it follows."""

import functools
import itertools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState
from jax.sharding import AxisType, PartitionSpec
from techniques import TECHNIQUES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.boxes import boxes_of
from optchain.core.paths import named_leaves
from optchain.core.rule import core_of
from optchain.inspect.laws.steps import every_extra

X = jax.random.normal(jax.random.key(0), (16, 8))
BOXED = {
    "adafactor": lambda: oc.adafactor(0.01, min_dim_size_to_factor=2),
    "novograd": lambda: oc.novograd(0.01),
    # A ridge that is large: inverse roots multiply rounding.
    "shampoo": lambda: oc.chain(oc.scale_by_shampoo(eps=0.1, mask=oc.is_kernel), oc.scale_by_learning_rate(0.01)),
    "adamw": lambda: oc.adamw(0.01),
    "groups": lambda: oc.groups(oc.adafactor(0.01, min_dim_size_to_factor=2), {"*/bias": oc.FROZEN, "*": {}}),
    "within optax": lambda: optax.chain(oc.scale_by_sm3(), optax.scale(-0.01)),
    "precise": lambda: oc.precision(oc.sm3(0.01), slots="bfloat16"),
    "sparse": lambda: oc.sparse(oc.sm3(0.01), 0.5),
}


class Model(nn.Module):
    @nn.compact
    def __call__(self, x):
        init = nn.initializers.lecun_normal()
        x = nn.Dense(16, kernel_init=nn.with_partitioning(init, ("data", "model")))(x)
        return nn.Dense(4, kernel_init=nn.with_partitioning(init, ("model", None)))(nn.relu(x))


class Scanned(nn.Module):
    @nn.compact
    def __call__(self, x):
        init = nn.with_partitioning(nn.initializers.lecun_normal(), ("data", "model"))
        layers = nn.scan(
            lambda module, x, _: (nn.Dense(8, kernel_init=init, use_bias=False, parent=module, name="dense")(x), None),
            variable_axes={"params": 0},
            split_rngs={"params": True},
            length=4,
            metadata_params={nn.meta.PARTITION_NAME: "layer"},
        )
        return layers(self, x, None)[0]


def loss(model, params):
    return jnp.mean(model.apply({"params": params}, X) ** 2)


def names(tree):
    return {jax.tree_util.keystr(path): spec for path, spec in jax.tree.leaves_with_path(nn.get_partition_spec(tree))}


def spec(state, slot, layer="Dense_0"):
    """The names of the axes of a slot of the kernel, wherever it stands in a state."""
    found = {path: spec for path, spec in names(state).items() if f"['{slot}']" in path and f"['{layer}']['k" in path}
    assert len(found) == 1, found
    return tuple(*found.values())


def require_layouts(state, layouts):
    """Each array is laid out as its box says; a box may be empty."""
    layouts = dict(named_leaves(layouts))
    for path, x in named_leaves(state):
        assert x.sharding.is_equivalent_to(layouts[path], x.ndim)


@pytest.mark.parametrize("name", one_of_each(BOXED))
def test_linen_boxes_under_jit_on_a_mesh(name):
    mesh = jax.make_mesh((2, 4), ("data", "model"), (AxisType.Auto,) * 2)
    model, tx = Model(), BOXED[name]()

    def init(key):
        params = model.init(key, X)["params"]
        return TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    def step(state):
        return state.apply_gradients(grads=jax.grad(functools.partial(loss, model))(state.params))

    with jax.set_mesh(mesh):
        abstract = jax.eval_shape(init, jax.random.key(1))
        layouts = nn.get_sharding(abstract, mesh)
        state = jax.jit(init, out_shardings=layouts)(jax.random.key(1))
        require_layouts(state, layouts)
        for _ in range(3):
            state = jax.jit(step, out_shardings=layouts)(state)
        unboxed = nn.unbox(state)  # which lays out what is in a box by its names
    plain = init(jax.random.key(1))
    plain = TrainState.create(apply_fn=model.apply, params=nn.unbox(plain.params), tx=tx)
    for _ in range(3):
        plain = jax.jit(step)(plain)
    found, expected = (jax.tree.map(np.asarray, (s.params, nn.unbox(s.opt_state))) for s in (unboxed, plain))
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)


def test_names_are_those_of_the_axes_that_are_followed():
    params = Model().init(jax.random.key(1), X)["params"]

    def state(tx):
        return jax.eval_shape(tx.init, params)

    factored = state(oc.scale_by_factored_rms(min_dim_size_to_factor=2))
    assert spec(factored, "nu_row") == ("data",) and spec(factored, "nu_col") == ("model",)
    assert spec(factored, "nu_col", "Dense_1") == ("model",) and spec(factored, "nu_row", "Dense_1") == (None,)
    shampoo = state(oc.scale_by_shampoo(mask=oc.is_kernel))
    assert spec(shampoo, "left") == (None, "data", None) and spec(shampoo, "right") == (None, "model", None)
    soap = state(oc.scale_by_soap(mask=oc.is_kernel))
    assert spec(soap, "nu") == ("data", "model") and spec(soap, "left_basis") == ("data", None)
    assert spec(state(oc.scale_by_novograd()), "nu") == ()
    assert spec(state(oc.adamw(0.1)), "nu") == ("data", "model")


def test_layers_of_a_scanned_model_have_their_name():
    params = Scanned().init(jax.random.key(1), X)["params"]
    tx = oc.over_layers(oc.scale_by_came(), "*")
    state = jax.eval_shape(tx.init, params)
    assert spec(state, "nu_row", "dense") == ("layer", "data") and spec(state, "nu_col", "dense") == ("layer", "model")
    _, after = jax.eval_shape(tx.update, params, state, params)
    assert jax.tree.structure(after) == jax.tree.structure(state)


CONTAINERS = {
    "none": lambda tx: tx,
    "partition": lambda tx: optax.partition({"own": tx, "other": optax.sgd(0.1)}, {"kernel": "own", "bias": "other"}),
    "masked": lambda tx: optax.masked(tx, {"kernel": True, "bias": False}),
    "chain": lambda tx: optax.chain(optax.clip(1.0), oc.guard(oc.accumulate(tx, 1))),
}


def kind_of(case):
    """What a technique does with a leaf that its mask leaves out, and what it keeps of one that it takes."""
    link = build(case[1]).link
    rule = getattr(link, "rule", None)
    return case[0], type(link), rule is not None and (core_of(rule, 2), getattr(link, "mask", None) is not None)


@pytest.mark.parametrize("container, name", one_of_each(itertools.product(CONTAINERS, TECHNIQUES), kind_of))
def test_every_technique_keeps_its_boxes(container, name):
    """All leaves are in boxes, also one that a mask leaves out, which stays an empty box in every slot."""
    tx, keys = CONTAINERS[container](build(name)), jax.random.split(jax.random.key(1))
    kernel = nn.Partitioned(jax.random.normal(keys[0], (8, 4)), ("data", "model"))
    params = {"bias": nn.Partitioned(jax.random.normal(keys[1], (4,)), ("model",)), "kernel": kernel}
    state = tx.init(params)
    for box in jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, nn.Partitioned)):
        if isinstance(box, nn.Partitioned) and isinstance(box.value, jax.Array):
            assert len(box.names) == box.value.ndim

    def step(params, state):
        return tx.update(params, state, params, **every_extra())

    boxed, plain = jax.eval_shape(step, params, state), nn.unbox(params)
    assert jax.tree.structure(boxed) == jax.tree.structure((params, state))
    expected = jax.eval_shape(step, plain, tx.init(plain))
    assert jax.tree.map(jnp.shape, nn.unbox(boxed)) == jax.tree.map(jnp.shape, expected)


@pytest.mark.parametrize("name", ["scale_by_muon", *[pytest.param(x, marks=pytest.mark.full) for x in TECHNIQUES]])
def test_a_step_in_boxes_is_the_step_without_them(name):
    params = {
        "bias": nn.Partitioned(jnp.linspace(0, 1, 4), ("model",)),
        "kernel": nn.Partitioned(jax.random.normal(jax.random.key(1), (8, 4)), ("data", "model")),
    }
    tx = build(name)
    found, expected = (
        jax.jit(lambda p, s: tx.update(p, s, p, **every_extra()))(p, tx.init(p)) for p in (params, nn.unbox(params))
    )
    chex.assert_trees_all_close(nn.unbox(found), expected, rtol=1e-5, atol=1e-6)


def test_boxes_may_be_left_at_home():
    params = Model().init(jax.random.key(1), X)["params"]
    assert boxes_of(jax.tree.structure(params)) is not None
    assert boxes_of(jax.tree.structure(nn.unbox(params))) is None
    assert boxes_of(jax.tree.structure(nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param))) is None


def test_a_state_of_another_structure_is_an_error():
    params = Model().init(jax.random.key(1), X)["params"]
    tx = oc.scale_by_sm3()
    with pytest.raises(ValueError, match="scale_by_sm3: the slot .* update with the structure that init had"):
        tx.update({"Dense_0": params["Dense_0"]}, tx.init(params))


def test_shardings_of_boxed_parameters():
    mesh = jax.make_mesh((2, 4), ("data", "model"), (AxisType.Auto,) * 2)
    with jax.set_mesh(mesh):
        abstract = jax.eval_shape(Model().init, jax.random.key(1), X)["params"]
        layouts = nn.get_sharding(abstract, mesh)
        params = jax.jit(lambda key: Model().init(key, X)["params"], out_shardings=layouts)(jax.random.key(1))
    tx = oc.scale_by_shampoo(mask=oc.is_kernel)
    found = oc.shardings(tx, params)
    state = jax.jit(tx.init, out_shardings=found)(params)
    left = state["scale_by_shampoo"]["left"]["Dense_0"]["kernel"]
    assert left.names == (None, "data", None) and left.value.sharding.spec == PartitionSpec(
        None, ("data", "model"), None
    )


def test_rows_of_a_table_in_a_box():
    init = nn.with_partitioning(nn.initializers.normal(), ("model", None))
    params = nn.Embed(32, 4, embedding_init=init).init(jax.random.key(0), jnp.array([0]))["params"]
    grads = jax.tree.map(jnp.ones_like, params)
    for mode in ("lazy", "exact"):
        tx = oc.rows(oc.chain(oc.scale_by_rowwise_adagrad(), oc.scale_by_learning_rate(0.1)), mode=mode)
        boxed, plain = (oc.apply(tx, g, tx.init(p), p) for g, p in ((grads, params), nn.unbox((grads, params))))
        chex.assert_trees_all_close(nn.unbox(boxed), plain)


@pytest.mark.parametrize("name", ["adafactor", "novograd", "shampoo", "adamw"])
def test_nnx_variables_with_sharding_metadata(name):
    mesh = jax.make_mesh((2, 4), ("data", "model"), (AxisType.Auto,) * 2)
    init = nnx.with_partitioning(nnx.initializers.lecun_normal(), ("data", "model"))
    tx = BOXED[name]()

    def made(**how):
        model = nnx.Linear(8, 16, rngs=nnx.Rngs(0), **how)
        return model, nnx.Optimizer(model, tx, wrt=nnx.Param)

    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda model: jnp.mean(model(X) ** 2))(model))

    with jax.set_mesh(mesh):
        model, optimizer = nnx.jit(lambda: made(kernel_init=init))()
        layouts = nnx.get_named_sharding(nnx.state(optimizer), mesh)
        require_layouts(nnx.state(optimizer), layouts)
        for _ in range(3):
            nnx.jit(step)(model, optimizer)
    plain, plain_optimizer = made()
    for _ in range(3):
        nnx.jit(step)(plain, plain_optimizer)
    found, expected = (
        [np.asarray(x) for x in jax.tree.leaves((nnx.state(m), nnx.state(o)))]
        for m, o in ((model, optimizer), (plain, plain_optimizer))
    )
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-5)
