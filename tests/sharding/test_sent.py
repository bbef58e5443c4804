"""What a step sends, counted in the compiled program: one gather a split leaf, one reduction a gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import with_sharding_constraint

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.inspect.collectives import LINE, collectives

SHAPES = {"first": (64, 128), "second": (128, 64), "third": (64, 64)}
BYTES = 4 * (64 * 128 + 128 * 64 + 64 * 64)
MICRO = 4
ELEMENTWISE = {
    "adamw": lambda: oc.adamw(1e-3),
    "lion": lambda: oc.lion(1e-3),
    "ademamix": lambda: oc.ademamix(1e-3),
    "sgd": lambda: oc.sgd(0.1),
}


@pytest.fixture
def mesh():
    return jax.make_mesh((8,), ("data",), (jax.sharding.AxisType.Auto,))


def drawn(mesh, spec):
    keys = jax.random.split(jax.random.key(0), len(SHAPES))
    tree = {name: jax.random.normal(key, SHAPES[name]) for name, key in zip(SHAPES, keys, strict=True)}
    return jax.device_put(tree, jax.NamedSharding(mesh, spec))


def loss(params, x):
    for name in SHAPES:
        x = jnp.tanh(x @ params[name])
    return jnp.mean(x**2)


def layouts(tree):
    return jax.tree.map(lambda x: x.sharding, tree)


def sent(compiled):
    """What gathers and what reduces, in arrays and bytes; XLA may join several in one call."""
    text = compiled.as_text()
    arrays = {"gather": 0, "reduce": 0}
    for results, kind in LINE.findall(text):
        arrays["gather" if kind == "all-gather" else "reduce"] += results.count("f32[")
    found = collectives(text)
    assert set(found) <= {"all-gather", "all-reduce", "reduce-scatter"}
    return arrays, found["all-gather"].bytes if "all-gather" in found else 0


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_zero_1_gathers_each_leaf_once_and_reduces_each_gradient_once(name, mesh):
    tx, params = ELEMENTWISE[name](), drawn(mesh, jax.P())
    layout, whole = oc.shardings(tx, params, over="data"), layouts(params)
    split = layouts(oc.split_over(params, "data"))
    state = jax.jit(tx.init, out_shardings=layout)(params)

    def step(params, state, x):
        params = with_sharding_constraint(params, whole)
        grads = jax.grad(loss)(params, x)
        grads, own = with_sharding_constraint((grads, params), (split, split))
        return oc.apply(tx, grads, state, own)

    x = jax.device_put(jnp.ones((16, 64)), jax.NamedSharding(mesh, jax.P("data")))
    arrays, gathered = sent(jax.jit(step, out_shardings=(whole, layout)).lower(params, state, x).compile())
    assert arrays == {"gather": len(SHAPES), "reduce": len(SHAPES)} and gathered == BYTES


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_fsdp_gathers_each_leaf_once_and_reduces_each_gradient_once(name, mesh):
    """Where the loss is told that its parameters are whole."""
    tx, params = ELEMENTWISE[name](), drawn(mesh, jax.P("data"))
    layout, own = oc.shardings(tx, params), layouts(params)
    state = jax.jit(tx.init, out_shardings=layout)(params)

    def step(params, state, x):
        whole = with_sharding_constraint(params, jax.NamedSharding(mesh, jax.P()))
        grads = with_sharding_constraint(jax.grad(loss)(whole, x), own)
        return oc.apply(tx, grads, state, params)

    x = jax.device_put(jnp.ones((16, 64)), jax.NamedSharding(mesh, jax.P("data")))
    arrays, gathered = sent(jax.jit(step, out_shardings=(own, layout)).lower(params, state, x).compile())
    assert arrays == {"gather": len(SHAPES), "reduce": len(SHAPES)} and gathered == BYTES


def in_the_loop(compiled):
    """The collectives that stand in another computation than that of the whole program, such as the body of a loop."""
    text = compiled.as_text()
    return collectives(text[: text.index("\nENTRY")] if "\nENTRY" in text else "")


def micro_batches(mesh, parts):
    """Inputs by micro-batch; with parts, each is in 8 that stand on a device each."""
    x = jax.random.normal(jax.random.key(1), (MICRO, 8, 2, 64) if parts else (MICRO, 16, 64))
    return jax.device_put(x, jax.NamedSharding(mesh, jax.P(None, "data")))


def test_gradients_of_a_whole_micro_batch_are_reduced_in_each_micro_batch(mesh):
    """`accumulate` sees whole gradients outside of `shard_map`: what a user does about it there stands below."""
    tx, params = oc.accumulate(oc.adamw(1e-3), MICRO), drawn(mesh, jax.P())
    state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)

    def step(params, state, xs):
        def micro(carry, x):
            return oc.apply(tx, jax.grad(loss)(carry[0], x), carry[1], carry[0]), None

        return jax.lax.scan(micro, (params, state), xs)[0]

    compiled = jax.jit(step, out_shardings=layouts((params, state)))
    assert "all-reduce" in in_the_loop(compiled.lower(params, state, micro_batches(mesh, parts=False)).compile())


def test_gradients_by_part_are_reduced_once_a_step(mesh):
    """Where micro-batches have an axis of parts; inside `shard_map` it is `accumulate(..., over="data")`."""
    tx, params = oc.adamw(1e-3), drawn(mesh, jax.P())
    state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)
    by_part = jax.NamedSharding(mesh, jax.P("data"))

    def step(params, state, xs):
        def add(total, x):
            return jax.tree.map(jnp.add, total, jax.vmap(jax.grad(loss), (None, 0))(params, x)), None

        zeros = jax.tree.map(lambda p: jnp.zeros((8, *p.shape)), params)
        total, _ = jax.lax.scan(add, with_sharding_constraint(zeros, by_part), xs)
        return oc.apply(tx, jax.tree.map(lambda g: g.mean(0) / MICRO, total), state, params)

    compiled = jax.jit(step, out_shardings=layouts((params, state)))
    program = compiled.lower(params, state, micro_batches(mesh, parts=True)).compile()
    assert not in_the_loop(program)
    assert sent(program)[0] == {"gather": 0, "reduce": len(SHAPES)}
    found, _ = compiled(params, state, micro_batches(mesh, parts=True))
    accumulated = oc.accumulate(tx, MICRO)
    expected = (alone := jax.tree.map(np.asarray, params)), accumulated.init(alone)
    for x in np.asarray(micro_batches(mesh, parts=True)).reshape(MICRO, 16, 64):
        expected = oc.apply(accumulated, jax.grad(loss)(expected[0], x), expected[1], expected[0])
    for (path, x), y in zip(named_leaves(found), jax.tree.leaves(expected[0]), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=path)
