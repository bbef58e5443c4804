"""`accumulate(over=...)`: each device adds gradients of its own, and they are reduced once, at the step."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType

import optchain as oc
from optchain.core.spread import as_varying
from optchain.inspect.collectives import collectives

P = jax.P
SHAPES = {"first": (16, 8), "second": (8, 16), "bias": (16,)}
BYTES = 4 * (16 * 8 + 8 * 16 + 16)
EVERY, STEPS = 3, 2
BY_MICRO_BATCH = P(None, "data")


@pytest.fixture(scope="module")
def mesh():
    return jax.make_mesh((4,), ("data",), (AxisType.Auto,), devices=jax.devices()[:4])


def params():
    keys = jax.random.split(jax.random.key(0), len(SHAPES))
    return {name: jax.random.normal(key, SHAPES[name]) / 3 for name, key in zip(SHAPES, keys, strict=True)}


def examples(*axes):
    return jax.random.normal(jax.random.key(1), (EVERY * STEPS, *axes, 16))


def loss(params, x):
    return jnp.mean(jnp.tanh(x @ params["first"] @ params["second"] + params["bias"][None]) ** 2)


def by_device(tx, over="data", told=lambda x: {}):
    """Steps on the micro-batches along the first axis, whose examples are divided over the devices."""

    def micro(carry, x):
        p, state = carry
        value, grads = jax.value_and_grad(loss)(as_varying(p, over), x)
        return oc.apply(tx, grads, state, p, **{name: f(value) for name, f in told(x).items()}), None

    return lambda p, state, xs: jax.lax.scan(micro, (p, state), xs)[0]


def mapped(function, tx, mesh, xs=BY_MICRO_BATCH):
    specs = oc.state_specs(tx, params(), P())
    return jax.jit(jax.shard_map(function, mesh=mesh, in_specs=(P(), specs, xs), out_specs=(P(), specs)))


def begun(tx, mesh):
    specs = oc.state_specs(tx, params(), P())
    return jax.jit(jax.shard_map(tx.init, mesh=mesh, in_specs=P(), out_specs=specs))(params())


def of_the_whole(inner, xs, **extra):
    p, state = params(), inner.init(params())
    for x in xs.reshape(STEPS, -1, 16):
        value, grads = jax.value_and_grad(loss)(p, x)
        p, state = oc.apply(inner, grads, state, p, **{name: value for name in extra})
    return p, state


def senders(text):
    """The parts of a compiled program that send."""
    found = re.findall(r"^(?:ENTRY )?(%\S+) \(.*?\{\n(.*?)^\}", text, re.MULTILINE | re.DOTALL)
    return {name for name, lines in found if collectives(lines)}


@pytest.mark.parametrize(
    "inner",
    [
        lambda: oc.chain(oc.clip_by_global_norm(0.1), oc.adamw(0.01)),
        lambda: oc.guard(oc.muon(0.01)),
        lambda: oc.chain(optax.adam(0.01)),
    ],
    ids=["clip and adamw", "guard and muon", "optax"],
)
def test_the_steps_are_those_of_the_whole_batches(inner, mesh):
    tx, xs = oc.accumulate(inner(), EVERY, over="data"), examples(8)
    found, state = mapped(by_device(tx), tx, mesh)(params(), begun(tx, mesh), xs)
    chex.assert_trees_all_close(found, of_the_whole(inner(), xs)[0], rtol=2e-5, atol=1e-6)
    assert oc.metrics(state)["accumulate.emitted"] == STEPS
    assert state["accumulate"]["mean"]["first"].shape == (4, 16, 8)  # one of each device


def test_nothing_is_sent_between_steps_and_each_gradient_once_at_a_step(mesh):
    """What is sent stands in the branch that steps: so no micro-batch but the last can send."""
    tx = oc.accumulate(oc.adamw(0.01), EVERY, over="data")
    step = mapped(by_device(tx), tx, mesh)
    text = step.lower(params(), begun(tx, mesh), examples(8)).compile().as_text()
    (sent,) = collectives(text).items()
    assert sent[0] == "all-reduce" and sent[1].bytes == BYTES + 4 * 2  # and two numbers: the weight, and what is lost
    conditionals = "\n".join(line for line in text.splitlines() if " conditional(" in line)
    branches = {*re.findall(r"%[\w.-]+", conditionals)}
    assert len(senders(text)) == 1 and senders(text) <= branches

    each = oc.accumulate(oc.adamw(0.01), EVERY)

    def micro(carry, x):  # JAX reduces the gradient of parameters that are the same on all devices
        grads = jax.tree.map(lambda g: g / 4, jax.grad(loss)(carry[0], x))
        return oc.apply(each, grads, carry[1], carry[0]), None

    reduced = mapped(lambda p, state, xs: jax.lax.scan(micro, (p, state), xs)[0], each, mesh)
    state = each.init(params())
    text = reduced.lower(params(), state, examples(8)).compile().as_text()
    bodies = {*re.findall(r" while\(.*body=(%[\w.-]+)", text)}
    assert collectives(text)["all-reduce"].bytes == BYTES and senders(text) <= bodies  # in each micro-batch
    xs = examples(8)
    found = mapped(by_device(tx), tx, mesh)(params(), begun(tx, mesh), xs)[0]
    chex.assert_trees_all_close(found, reduced(params(), state, xs)[0], rtol=2e-5, atol=1e-6)


def test_each_part_has_its_own_weight_and_is_dropped_by_itself(mesh):
    tx = oc.accumulate(oc.sgd(1.0), 2, over="data")
    p = {"w": jnp.zeros(2)}
    grads = jnp.arange(1.0, 17.0).reshape(2, 4, 2).at[1, 2].set(jnp.nan)
    weights = jnp.arange(8.0).reshape(2, 4)  # the first is 0
    specs = oc.state_specs(tx, p, P())

    def step(p, grads, weights):
        state = tx.init(p)
        for g, w in zip(grads, weights, strict=True):
            p, state = oc.apply(tx, {"w": g[0]}, state, p, weight=w[0])
        return p, state

    which = P(None, "data")
    run = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), which, which), out_specs=(P(), specs)))
    found, state = run(p, grads, weights)
    counted = np.nan_to_num(np.asarray(weights)[..., None] * grads).sum((0, 1)) / (28 - 6)
    np.testing.assert_allclose(found["w"], -counted, rtol=1e-6)
    assert oc.metrics(state)["accumulate.dropped"] == 1 and state["accumulate"]["lost"].tolist() == [0] * 4


def test_all_devices_step_where_only_one_has_weight(mesh):
    tx = oc.accumulate(oc.sgd(1.0), 1, over="data")
    p = {"w": jnp.zeros(2)}

    def step(p, g, w):
        return oc.apply(tx, {"w": g[0]}, tx.init(p), p, weight=w[0])[0]

    run = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P()))
    grads = jnp.arange(8.0).reshape(4, 2)
    np.testing.assert_array_equal(run(p, grads, jnp.array([0.0, 0, 5, 0]))["w"], -grads[2])
    np.testing.assert_array_equal(run(p, grads, jnp.zeros(4))["w"], p["w"])


def test_an_extra_argument_is_averaged_over_the_devices_too(mesh):
    inner = oc.scale_by_polyak()
    tx, xs = oc.accumulate(oc.chain(inner, oc.scale(-1.0)), EVERY, over="data"), examples(8)
    step = mapped(by_device(tx, told=lambda x: {"value": lambda value: value}), tx, mesh)
    found, _ = step(params(), begun(tx, mesh), xs)
    expected, _ = of_the_whole(oc.chain(oc.scale_by_polyak(), oc.scale(-1.0)), xs, value=True)
    chex.assert_trees_all_close(found, expected, rtol=1e-4, atol=1e-6)


def test_outside_of_shard_map_one_device_accumulates():
    tx, xs = oc.accumulate(oc.adamw(0.01), EVERY, over="data"), examples(8)
    plain = oc.accumulate(oc.adamw(0.01), EVERY)
    found, expected = [(params(), t.init(params())) for t in (tx, plain)]
    for x in xs[:EVERY]:
        found, expected = (
            oc.apply(t, jax.grad(loss)(p, x), state, p) for t, (p, state) in ((tx, found), (plain, expected))
        )
    chex.assert_trees_all_close(found[0], expected[0], rtol=1e-6, atol=1e-7)


def test_shards_of_parameters_along_another_axis():
    mesh = jax.make_mesh((2, 2), ("data", "x"), (AxisType.Auto,) * 2, devices=jax.devices()[:4])
    inner = lambda: oc.chain(oc.clip_by_global_norm(0.1), oc.scale_by_adam())  # noqa: E731
    tx = oc.over_axes(oc.accumulate(inner(), 2, over="data"), "x")
    p, gs = {"w": jnp.ones((4, 3))}, jax.random.normal(jax.random.key(2), (2, 2, 4, 3))
    specs = oc.state_specs(tx, p, P("x"))
    assert specs["accumulate"]["mean"]["w"] == P("data", "x", None) and specs["accumulate"]["weight"] == P("data")

    def step(p, gs):
        state = tx.init(p)
        for g in gs:
            p, state = oc.apply(tx, {"w": g[0]}, state, p)
        return p, state

    run = jax.jit(jax.shard_map(step, mesh=mesh, in_specs=(P("x"), P(None, "data", "x")), out_specs=(P("x"), specs)))
    expected, _ = oc.apply(inner(), {"w": gs.mean((0, 1))}, inner().init(p), p)
    chex.assert_trees_all_close(run(p, gs)[0], expected, rtol=1e-5, atol=1e-6)


def test_calls_that_do_not_fit_are_errors(mesh):
    tx = oc.accumulate(oc.adamw(0.01), EVERY, over="data")
    state, p = begun(tx, mesh), params()

    def reduced(p, state, x):
        return oc.apply(tx, jax.grad(loss)(p, x), state, p)

    with pytest.raises(ValueError, match="'bias' is the same on all devices along 'data'.*pcast"):
        jax.eval_shape(mapped(reduced, tx, mesh, P("data")), p, state, examples(8)[0])

    def apart(p, state, x):
        grads = jax.grad(loss)(as_varying(p, "data"), x)
        return oc.apply(tx, grads, state, p, emit=x.sum() > 0)

    with pytest.raises(ValueError, match="`emit` differs between devices along 'data'"):
        jax.eval_shape(mapped(apart, tx, mesh, P("data")), p, state, examples(8)[0])
    with pytest.raises(ValueError, match=r"has shape \(4,\) in the state"):
        oc.apply(tx, p, state, p)
    with pytest.raises(ValueError, match="over must be the name of a mesh axis"):
        oc.accumulate(oc.adamw(0.01), 2, over=("x", "x"))
    for over in (3, ()):
        with pytest.raises(ValueError, match="over must be the name of a mesh axis"):
            oc.accumulate(oc.adamw(0.01), 2, over=over)
    with pytest.raises(ValueError, match="gradients of rows cannot be kept by device"):
        oc.accumulate(oc.rows(oc.adam(0.1), "w"), 2, rows=2, over="data")
    around = oc.guard(tx)
    inside = functools.partial(oc.apply, around)
    grads = jax.tree.map(lambda x: jnp.stack([x] * 4), p)
    run = jax.shard_map(
        lambda g, p: inside(jax.tree.map(lambda x: x[0], g), around.init(p), p)[0],
        mesh=mesh, in_specs=(P("data"), P()), out_specs=P(),
    )  # fmt: skip
    with pytest.raises(ValueError, match="guard: inside shard_map the update of leaf"):
        jax.eval_shape(run, grads, p)
