"""Matrices by owners: the steps of one device, what the compiled program does and sends, states by parameters."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from by_owners import (
    EIGHT,
    KINDS,
    LR,
    MUON,
    after,
    begun,
    compiled,
    drawn,
    held,
    mesh,
    require_equal,
    require_the_same,
    step,
)
from techniques import RULES, build
from tiers import one_of_each

import optchain as oc
from optchain.core.dense import Dense
from optchain.core.rule import core_of
from optchain.inspect.collectives import collectives


def looks_across_matrices(name):
    link = build(name).link
    return isinstance(link, Dense) and core_of(link.rule, 2) == 2


NAMES = [name for name in RULES if looks_across_matrices(name)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", one_of_each(NAMES))
def test_every_technique_is_stepped_whole_once(name, kind):
    tx, rows = oc.chain(build(name), LR), jax.P("x")
    require_the_same(tx, EIGHT, mesh(kind), rows, rtol=1e-4)
    one, _ = compiled(tx, EIGHT)
    alone = held(begun(tx, drawn(EIGHT, 0)))
    many, state = compiled(oc.distributed(tx, "x"), EIGHT, mesh(kind), rows)
    # A sketch that is drawn for all matrices of a shape is drawn by each owner.
    limit = 1.8 if name == "scale_by_apollo" else 1.2
    assert many.cost_analysis()["flops"] <= limit / 8 * one.cost_analysis()["flops"]
    assert held(state) <= 1.2 / 8 * alone
    sent, ways = collectives(many.as_text()), 2 + build(name).link.rule.needs_params  # there and back
    assert sent.keys() == {"all-to-all"} and sent["all-to-all"].count == ways, sent
    assert sent["all-to-all"].bytes <= 1.1 * ways * 8 * 32 * 32 * 4 / 8


LAYOUTS = {
    "rows": ((8,), jax.P("x"), "x", {"all-to-all": 2}),
    "columns": ((8,), jax.P(None, "x"), "x", {"all-to-all": 2}),
    "copies": ((8,), jax.P(), "x", {"all-gather": 1}),
    "both sides": ((2, 4), jax.P("x", "y"), ("x", "y"), {"all-to-all": 4}),
    "one of two axes": ((2, 4), jax.P("y"), "y", {"all-to-all": 2}),
    "rows over one, owners over both": ((2, 4), jax.P("y"), ("x", "y"), {"all-to-all": 2, "all-gather": 1}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", one_of_each(LAYOUTS))
def test_what_is_sent_between_layouts(layout, kind):
    sizes, spec, axis, expected = LAYOUTS[layout]
    where, shapes = mesh(kind, sizes, ("x", "y")[: len(sizes)]), {f"w{i}": (64, 128) for i in range(8)}
    require_the_same(MUON, shapes, where, spec, axis)
    program, _ = compiled(oc.distributed(MUON, axis), shapes, where, spec)
    assert {name: sent.count for name, sent in collectives(program.as_text()).items()} == expected


TREES = {
    "more than owners": (MUON, {f"w{i}": (16, 16) for i in range(12)}),
    "once each": (MUON, {f"w{i}": (16, 8 * i + 8) for i in range(3)}),
    "layers": (oc.over_layers(MUON, "l*"), {"l": (5, 16, 32), "w": (16, 32)}),
    "layers, split": (oc.over_layers(MUON, "l*"), {"l": (8, 16, 32), "w": (16, 32)}),
    "heads": (oc.as_matrices(MUON, {"q*": "d h k -> h d k"}), {"q0": (16, 4, 8), "q1": (16, 4, 8), "w": (16, 32)}),
    "convolutions": (oc.as_matrices(MUON, {"*": "h w i o -> (h w i) o"}), {"a": (8, 3, 2, 16), "b": (8, 3, 2, 16)}),
    "parts": (oc.as_matrices(MUON, {"q*": "d 8+4+4 -> d 8+4+4"}), {"q0": (16, 16), "q1": (16, 16)}),
    "layers of parts": (
        oc.over_layers(oc.as_matrices(oc.chain(oc.scale_by_soap(), LR), {"*": "d 8+8 -> d 8+8"}), "*"),
        {"q": (8, 8, 16)},
    ),
    "one side": (oc.chain(oc.scale_by_soap(max_dim=20), LR), {f"w{i}": (16, 32) for i in range(3)}),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", one_of_each(TREES))
def test_trees_of_all_kinds_and_their_states(name, kind):
    tx, shapes = TREES[name]
    where, spec = mesh(kind), lambda shape: jax.P(None, "x") if name == "layers" and len(shape) == 3 else jax.P("x")
    params, state = require_the_same(tx, shapes, where, spec, rtol=1e-4)
    _, expected = after(tx, shapes)
    owned = oc.distributed(tx, "x")
    by_parameters = oc.state_by_parameters(owned, state, params)
    assert jax.tree.structure(by_parameters) == jax.tree.structure(expected)
    assert jax.tree.map(jnp.shape, by_parameters) == jax.tree.map(jnp.shape, expected)
    require_equal(by_parameters, expected, rtol=1e-3)
    back = oc.state_by_owners(owned, jax.device_get(by_parameters), params)
    jax.tree.map(np.testing.assert_array_equal, back, state)
    for x, y in zip(jax.tree.leaves(back), jax.tree.leaves(state), strict=True):
        assert not x.ndim or x.sharding.is_equivalent_to(y.sharding, x.ndim)


def test_goes_on_with_another_number_of_owners_and_without():
    owned, spec = oc.distributed(MUON, "x"), jax.P("x")
    params, state = after(owned, EIGHT, mesh=mesh(), spec=spec)
    kept = jax.device_get((params, oc.state_by_parameters(owned, state, params)))
    expected, _ = after(MUON, EIGHT, steps=4)
    grads = drawn(EIGHT, 4)
    alone, _ = oc.apply(MUON, grads, kept[1], kept[0])
    require_equal(alone, expected, 1e-6)
    four = jax.make_mesh((4,), ("x",), devices=jax.devices()[:4])
    there = jax.device_put(kept[0], jax.NamedSharding(four, spec))
    resumed = oc.state_by_owners(owned, kept[1], there)
    resumed = jax.device_put(resumed, oc.shardings(owned, there))
    on_four = jax.device_put(grads, jax.NamedSharding(four, spec))
    for wrong in (state, owned.init(params)):
        with pytest.raises(ValueError, match="holds stacks 32x32@8, expected 32x32@4.*see `state_by_parameters`"):
            owned.update(on_four, jax.device_get(wrong), there)
        with pytest.raises(ValueError, match="holds stacks 32x32@8, expected 32x32@4"):
            oc.state_by_parameters(owned, jax.device_get(wrong), there)
    found, _ = step(owned, there, resumed)(on_four, resumed, there)
    require_equal(found, expected, 1e-6)


def test_a_run_without_owners_goes_on_with_them_by_migration():
    params, spec = drawn(EIGHT, 0), jax.P("x")
    params, state = oc.apply(MUON, drawn(EIGHT, 1), MUON.init(params), params)
    expected, _ = oc.apply(MUON, drawn(EIGHT, 2), state, params)
    there = jax.device_put(params, jax.NamedSharding(mesh(), spec))
    tx = oc.guard(oc.distributed(MUON, "x"))
    owned, report = oc.migrate_state(state, tx, there)
    assert report.created == ("(guard)",) and "scale_by_muon" in report.kept
    owned = jax.device_put(owned, oc.shardings(tx, there))
    found, _ = step(tx, there, owned)(drawn(EIGHT, 2, mesh(), spec), owned, there)
    require_equal(found, expected, 1e-6)


AROUND = {
    "guard": oc.guard(MUON),
    "accumulate": oc.accumulate(MUON, 2),
    "lookahead": oc.lookahead(MUON, 2, 0.5),
    "bfloat16 slots": oc.precision(MUON, slots="bfloat16"),
    "groups": oc.groups(MUON, {"w0": {"eps": 2.0, "learning_rate": 0.5}, "*": {}}),
    "a schedule": oc.chain(oc.scale_by_muon(beta=lambda step: 0.9 + 0.01 * step), LR),
    "optax": optax.chain(optax.clip_by_global_norm(1.0), MUON),
    "partition": optax.partition({"m": MUON, "a": oc.adamw(0.01)}, {name: "am"[name > "w3"] for name in EIGHT}),
    "muon": oc.muon(0.01),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", one_of_each(AROUND))
def test_what_stands_around(name, kind):
    # Rounding at random takes its bits from the place of an entry in its slot, which is another one by owners.
    loose = 1e-3 if name == "bfloat16 slots" else 1e-6
    distributed = {
        "optax": optax.chain(optax.clip_by_global_norm(1.0), oc.distributed(MUON, "x")),
        "partition": optax.partition(
            {"m": oc.distributed(MUON, "x"), "a": oc.adamw(0.01)}, {name: "am"[name > "w3"] for name in EIGHT}
        ),
    }.get(name) or oc.distributed(AROUND[name], "x")
    expected, _ = after(AROUND[name], EIGHT, steps=4)
    found, _ = after(distributed, EIGHT, steps=4, mesh=mesh(kind), spec=jax.P("x"))
    require_equal(found, expected, loose)


def test_numbers_of_single_leaves_and_of_a_step():
    extra = {"factors": {"*.eps": {"w0": 2.0}}, "hyper": {"*.beta": 0.5}}
    require_the_same(MUON, EIGHT, mesh(), jax.P("x"), **extra)
    with pytest.raises(ValueError, match="no number 'beat'"):
        require_the_same(MUON, EIGHT, mesh(), jax.P("x"), hyper={"beat": 0.5})


def test_within_a_scan_and_for_a_population():
    tx, where = oc.distributed(MUON, "x"), mesh()
    params = drawn(EIGHT, 0, where, jax.P("x"))
    state, grads = begun(tx, params), drawn(EIGHT, 1, where, jax.P("x"))

    @jax.jit
    def run(state, params):
        return jax.lax.scan(lambda c, _: (oc.apply(tx, grads, c[1], c[0]), None), (params, state), length=3)[0]

    found, _ = run(state, params)
    one, held = drawn(EIGHT, 0), MUON.init(drawn(EIGHT, 0))
    for _ in range(3):
        one, held = oc.apply(MUON, drawn(EIGHT, 1), held, one)
    require_equal(found, one, 1e-6)

    def at(rate):
        tx = oc.distributed(oc.chain(oc.scale_by_muon(), oc.scale_by_learning_rate(rate)), "x")
        return oc.apply(tx, grads, tx.init(params), params)[0]

    rates = jnp.array([0.1, 0.01])
    both = jax.jit(jax.vmap(at))(rates)
    for i, rate in enumerate(rates):
        require_equal(jax.tree.map(lambda x, i=i: x[i], both), jax.jit(at)(rate), 1e-6)


def test_without_a_mesh_all_have_one_owner():
    expected, _ = after(MUON, EIGHT)
    found, state = after(oc.distributed(MUON, "x"), EIGHT)
    require_equal(found, expected, 1e-6)
    assert state["links"]["scale_by_muon"]["scale_by_muon"]["mu"]["32x32@1"].shape == (8, 32, 32)


def test_what_is_asked_wrongly():
    with pytest.raises(ValueError, match="nothing in tx looks across matrices: it holds chain, scale_by_adam, .*leave"):
        oc.distributed(oc.chain(adam=oc.scale_by_adam(), lr=LR), "x")
    with pytest.raises(ValueError, match="scale_by_muon has owners along .'x',. already"):
        oc.distributed(oc.distributed(MUON, "x"), "y")
    for axis in ((), ("x", "x"), 3):
        with pytest.raises(ValueError, match="distributed: axis must be the name of a mesh axis"):
            oc.distributed(MUON, axis)
    with pytest.raises(ValueError, match="scale_by_muon: distributed over 'fsdb'; did you mean 'fsdp'"):
        oc.distributed(MUON, "fsdb").init(drawn(EIGHT, 0, mesh(names=("fsdp",)), jax.P("fsdp")))
    tx, params = oc.distributed(MUON, "x"), drawn(EIGHT, 0)
    inside = jax.shard_map(
        lambda g: tx.update(g, tx.init(g), g)[0], mesh=mesh(), in_specs=jax.P("x"), out_specs=jax.P("x")
    )
    with pytest.raises(ValueError, match="scale_by_muon"):
        jax.eval_shape(inside, params)


def test_it_is_printed_configured_and_taken_apart():
    tx = oc.distributed(oc.chain(muon=oc.scale_by_muon(), lr=LR), "x")
    assert "owners=(x,)" in str(tx) or "owners" in str(tx)
    assert math.isclose(oc.metrics(tx.init(drawn(EIGHT, 0)))["lr.learning_rate"], 0.01, rel_tol=1e-6)
    assert str(oc.from_config(oc.to_config(tx))) == str(tx)
