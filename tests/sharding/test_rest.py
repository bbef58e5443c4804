"""Matrices of many shapes by owners: the steps of one device, what is held, done and sent, and states by parameters."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from by_owners import LR, MUON, after, compiled, drawn, held, mesh, require_equal, require_the_same
from tiers import one_of_each

import optchain as oc
from optchain.inspect.collectives import collectives

ODD = {f"w{i}": (16 + 8 * i, 16) for i in range(12)}
SQUARE = {f"w{i}": (8 * i + 8, 8 * i + 8) for i in range(3)}


class Kept(NamedTuple):
    turns: jax.Array  # i32[]
    wide: jax.Array | None  # of some matrices
    nothing: jax.Array  # f32[0]


@oc.rule
class Turns:
    """Slots of any kind."""

    core_ndim = 2

    def init(self, p: jax.Array) -> Kept:
        return Kept(jnp.zeros((), jnp.int32), p[:, :2] if p.shape[0] > 8 else None, jnp.zeros(0))

    def update(self, g: jax.Array, s: Kept, p: None, t: jax.Array) -> tuple[jax.Array, Kept]:
        u = g @ g.T @ g * (s.turns + 1)
        return u, Kept(s.turns + 2, None if s.wide is None else s.wide + u[:, :2], s.nothing)


LAYOUTS = {
    "rows": ("explicit", (8,), jax.P("x"), "x", {"all-to-all": 2}),
    "rows, automatic": ("auto", (8,), jax.P("x"), "x", {"all-to-all": 2}),
    "columns": ("explicit", (8,), jax.P(None, "x"), "x", {"all-to-all": 2}),
    "copies": ("explicit", (8,), jax.P(), "x", {"all-gather": 1}),
    "both sides": ("explicit", (2, 4), jax.P("x", "y"), ("x", "y"), {"all-to-all": 2}),
    "one of two axes": ("explicit", (2, 4), jax.P("x", "y"), "y", {"all-to-all": 2, "all-gather": 1}),
    "rows over one, owners over both": ("explicit", (2, 4), jax.P("y"), ("x", "y"), {"all-to-all": 2, "all-gather": 1}),
    "columns, automatic": ("auto", (8,), jax.P(None, "x"), "x", {"all-to-all": 26}),
    "copies, automatic": ("auto", (8,), jax.P(), "x", {"all-to-all": 2, "all-gather": 12}),
}


@pytest.mark.parametrize("name", one_of_each(LAYOUTS, kind=lambda name: LAYOUTS[name][0]))
def test_twelve_shapes_that_occur_once(name):
    kind, sizes, spec, axis, expected = LAYOUTS[name]
    where = mesh(kind, sizes, ("x", "y")[: len(sizes)])
    require_the_same(MUON, ODD, where, spec, axis)
    one, alone = compiled(MUON, ODD)
    many, state = compiled(oc.distributed(MUON, axis), ODD, where, spec)
    owners = 4 if axis == "y" else 8
    assert held(state) <= 1.2 / owners * held(alone)  # in stacks all of it: 8 times as much
    assert many.cost_analysis()["flops"] <= 1.25 / owners * one.cost_analysis()["flops"]
    assert {kind: sent.count for kind, sent in collectives(many.as_text()).items()} == expected
    if name in ("rows", "columns"):
        assert collectives(many.as_text())["all-to-all"].bytes <= 2 * 1.2 * held(alone) / owners


TREES = {
    "slots of any kind": (oc.chain(oc.lift(Turns, "turns")(), oc.scale_by_learning_rate(1e-5)), SQUARE, {}),
    "an eigenbasis": (oc.chain(oc.scale_by_soap(), LR), SQUARE, {}),
    "a layer stack in two deals": (oc.over_layers(MUON, "l"), {"l": (11, 16, 16), "v": (24, 24), "w": (24, 24)}, {}),
    "one side": (oc.chain(oc.scale_by_soap(max_dim=20), LR), {f"w{i}": (16, 8 * i + 16) for i in range(3)}, {}),
    "numbers of leaves": (MUON, SQUARE, {"factors": {"*.eps": {"w0": 2.0}}, "hyper": {"*.beta": 0.5}}),
    "parameters": (oc.chain(oc.scale_by_fira(2), LR), SQUARE, {}),
    "four factors": (oc.chain(oc.scale_by_kron(), LR), SQUARE, {}),
    "low rank": (oc.chain(oc.scale_by_dion(), LR), SQUARE, {}),
    "heads": (oc.as_matrices(MUON, {"q*": "d h k -> h d k"}), {"q0": (16, 4, 8), "q1": (16, 4, 16), "w": (16, 16)}, {}),
    "around": (oc.guard(oc.accumulate(MUON, 2)), SQUARE, {}),
}


@pytest.mark.parametrize("name", one_of_each(TREES, kind=lambda name: name if "stack" in name else None))
def test_trees_of_all_kinds_and_their_states(name):
    tx, shapes, extra = TREES[name]
    where, layers = mesh("explicit" if "stack" in name else "auto"), "stack" in name
    spec = lambda shape: jax.P(None, "x") if layers and len(shape) == 3 else jax.P("x")  # noqa: E731
    params, state = require_the_same(tx, shapes, where, spec, "x", 1e-4, **extra)
    _, expected = after(tx, shapes, **extra)
    owned = oc.distributed(tx, "x")
    assert any("'rest@8'" in jax.tree_util.keystr(path) for path, _ in jax.tree.leaves_with_path(state))
    by_parameters = oc.state_by_parameters(owned, state, params)
    assert jax.tree.structure(by_parameters) == jax.tree.structure(expected)
    require_equal(by_parameters, expected, rtol=1e-3)
    back = oc.state_by_owners(owned, jax.device_get(by_parameters), params)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    for (path, x), y in zip(jax.tree.leaves_with_path(back), jax.tree.leaves(state), strict=True):
        assert "@8" not in jax.tree_util.keystr(path) or x.sharding.is_equivalent_to(y.sharding, x.ndim)


def test_owners_of_another_number_are_named():
    tx = oc.distributed(MUON, "x")
    params = drawn(SQUARE, 0, mesh(), jax.P("x"))
    two = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
    there = jax.device_put(jax.device_get(params), jax.NamedSharding(two, jax.P("x")))
    with pytest.raises(ValueError, match="holds stacks rest@8, expected .*@2.*see `state_by_parameters`"):
        tx.update(there, jax.device_get(tx.init(params)), there)
    kept = oc.state_by_parameters(tx, tx.init(params), params)
    migrated, _ = oc.migrate_state(jax.device_get(kept), tx, params)
    jax.tree.map(np.testing.assert_array_equal, migrated, tx.init(params))


@pytest.mark.full
def test_without_jit_and_for_a_population():
    tx, params = oc.distributed(MUON, "x"), drawn(SQUARE, 0, mesh(), jax.P("x"))
    grads = drawn(SQUARE, 1, mesh(), jax.P("x"))

    def at(rate):
        tx = oc.distributed(oc.chain(oc.scale_by_muon(), oc.scale_by_learning_rate(rate)), "x")
        return oc.apply(tx, grads, tx.init(params), params)[0]

    eager, _ = oc.apply(tx, grads, tx.init(params), params)
    both = jax.jit(jax.vmap(at))(jnp.array([0.1, 0.01]))
    require_equal(jax.tree.map(lambda x: x[1], both), eager, 1e-6)
