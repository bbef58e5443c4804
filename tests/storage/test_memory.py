"""The state in the memory of the host: nothing else changes, and what is small stays on the device."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType

import optchain as oc
from optchain.core.paths import named_leaves

AWAY = partial(oc.precision, memory="pinned_host", min_size=16)


def params():
    return jax.device_put({"w": jax.random.normal(jax.random.key(0), (64, 32)), "b": jnp.ones(8)}, jax.devices()[0])


def steps(tx, params, state, n=3):
    """After `n` steps of one compiled program, which refuses what lies elsewhere than it was compiled for."""
    step = jax.jit(lambda params, state: oc.apply(tx, jax.tree.map(jnp.sin, params), state, params))
    step = step.lower(params, state).compile()
    for _ in range(n):
        params, state = step(params, state)
    return params, state


def memories(state):
    """The memory of each array with axes, by its name."""
    return {path: x.sharding.memory_kind for path, x in named_leaves(state) if jnp.ndim(x)}


@pytest.mark.parametrize("how", [{}, {"slots": "int8"}, {"slots": "bfloat16"}, {"params": "master"}, {"watch": True}])
def test_steps_are_those_of_a_state_on_the_device(how):
    tx, there = AWAY(oc.adamw(1e-2), **how), oc.precision(oc.adamw(1e-2), min_size=16, **how)
    start = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params()) if "params" in how else params()
    first = jax.jit(tx.init, out_shardings=oc.shardings(tx, start))(start)
    after, state = steps(tx, start, first)
    expected, plain = steps(there, start, there.init(start))
    chex.assert_trees_all_equal(after, expected)
    kinds = memories(state)
    assert set(kinds.values()) == {"device", "pinned_host"}
    assert all((kind == "pinned_host") == ("/w" in path) for path, kind in kinds.items())
    assert kinds == memories(first) == memories(tx.init(start)) and set(memories(after).values()) == {"device"}
    if "slots" not in how or how["slots"] == "bfloat16":
        chex.assert_trees_all_equal(jax.tree.leaves(state), jax.tree.leaves(plain))


def test_transformations_of_optax_are_kept_there_too():
    import optax

    tx = AWAY(optax.adam(1e-2))
    after, state = steps(tx, params(), tx.init(params()))
    expected, _ = steps(optax.adam(1e-2), params(), optax.adam(1e-2).init(params()))
    chex.assert_trees_all_close(after, expected, rtol=1e-6)
    assert list(memories(state).values()).count("pinned_host") == 2


@pytest.mark.parametrize("axis", [AxisType.Auto, AxisType.Explicit])
def test_a_state_on_a_mesh_keeps_its_layout(axis):
    layout = jax.NamedSharding(jax.make_mesh((8,), ("x",), axis_types=(axis,)), jax.P("x"))
    start, tx = jax.device_put(params(), layout), AWAY(oc.adamw(1e-2))
    layouts = oc.shardings(tx, start)
    state = jax.jit(tx.init, out_shardings=layouts)(start)
    _, state = steps(tx, start, state)
    for x, kept in zip(jax.tree.leaves(state), jax.tree.leaves(layouts), strict=True):
        assert x.sharding.is_equivalent_to(kept, x.ndim) and x.sharding.memory_kind == kept.memory_kind
    assert jax.tree.leaves(state["inner"]["links"])[1].sharding.spec == jax.P("x") or axis == AxisType.Explicit
    assert list(memories(state).values()).count("pinned_host") == 2


def test_loops_branches_batches_and_derivatives_go_through_it():
    tx, plain = AWAY(oc.guard(oc.adamw(1e-2))), oc.guard(oc.adamw(1e-2))

    def step(tx, carry, _=None):
        here, state = carry
        return oc.apply(tx, jax.tree.map(jnp.sin, here), state, here), None

    def ended(tx, start):
        return jax.lax.scan(partial(step, tx), (start, tx.init(start)), length=2)[0][0]

    def loss(tx, start):
        first, _ = step(tx, (start, tx.init(start)))
        return step(tx, first)[0][0]["w"].sum()

    start = params()
    several = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), start)
    for function in (ended, jax.grad(loss, argnums=1)):
        got, expected = (jax.jit(partial(function, tx))(start) for tx in (tx, plain))
        chex.assert_trees_all_close(got, expected, rtol=1e-6)
    batched = jax.jit(jax.vmap(partial(ended, tx)))(several)
    chex.assert_trees_all_close(batched, jax.jit(jax.vmap(partial(ended, plain)))(several), rtol=1e-6)


def test_describe_says_what_lies_on_the_host():
    report = oc.describe(AWAY(oc.adamw(1e-2)), params())
    assert sum(slot.bytes for slot in report.slots if slot.on_host) == 2 * 4 * 64 * 32
    assert "of the state, 16,384 bytes lie in the memory of the host" in str(report)
    assert "memory of the host" not in str(oc.describe(oc.adamw(1e-2), params()))


def test_what_is_wrong_is_said(monkeypatch):
    with pytest.raises(ValueError, match="memory is 'pinned'; .*'pinned_host'"):
        oc.precision(oc.adamw(1e-2), memory="pinned")
    device = type("Device", (), {"device_kind": "toy", "addressable_memories": lambda self: []})()
    tx = AWAY(oc.adamw(1e-2))
    monkeypatch.setattr(jax, "local_devices", lambda: [device])
    with pytest.raises(ValueError, match="memory is 'pinned_host'; toy has only the memory of the device"):
        tx.init(params())
