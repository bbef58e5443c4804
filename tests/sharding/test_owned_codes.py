"""Slots in codes with owners: the steps of one device, bytes, what is sent, and states by parameters."""

import functools

import jax
import numpy as np
import pytest
from by_owners import after, begun, compiled, drawn, held, mesh, require_equal

import optchain as oc
from optchain.inspect.collectives import collectives

LR = oc.scale_by_learning_rate(0.01)
MUON = oc.over_layers(oc.chain(muon=oc.scale_by_muon(ns_steps=1), lr=LR), "l")
coded = functools.partial(oc.precision, slots="int8")
# Two matrices for each owner, one after the other because of their size, and one more for three of them.
LARGE = {"l": (3, 64, 512)} | {f"w{i:02}": (64, 512) for i in range(16)}


def last(shape):
    return jax.P(*[None] * (len(shape) - 1), "x")


def types(tree):
    return jax.tree.map(lambda x: (x.shape, x.dtype), tree)


def require_identical(found, expected):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))


@pytest.mark.parametrize("kind", ["explicit", pytest.param("auto", marks=pytest.mark.full)])
def test_owners_step_codes_as_one_device_does(kind):
    tx, plain = oc.distributed(coded(MUON), "x"), oc.distributed(MUON, "x")
    assert tx == coded(plain)
    expected, _ = after(coded(MUON), LARGE)
    found, state = after(tx, LARGE, mesh=mesh(kind), spec=last)
    require_equal(found, expected, 1e-6)
    exact, _ = after(plain, LARGE, mesh=mesh(kind), spec=last)
    for name, start in drawn(LARGE, 0).items():
        error, way = (np.linalg.norm(np.asarray(x[name]) - np.asarray(exact[name])) for x in (found, {name: start}))
        assert 0 < error < 0.05 * way
    mu = state["links"]["muon"]["scale_by_muon"]["mu"]
    assert mu["codes"]["64x512@8"].shape == (24, 64, 512)
    assert held(mu) == (1 + 4 / 128) * 24 * 64 * 512 / 8
    programs = [compiled(x, LARGE, mesh(kind), last)[0] for x in (tx, plain)]
    sent, reference = (collectives(x.as_text()) for x in programs)
    assert sent == reference
    temporaries = [x.memory_analysis().temp_size_in_bytes for x in programs]
    assert temporaries[0] <= temporaries[1], temporaries


# Blocks of "short" on one device are longer than a row, those of "heads" and of "q" go across what the view shows.
TREE = {"heads": (64, 4, 32), "l": (8, 64, 64), "q": (64, 128), "s": (16, 64), "short": (8, 64, 16), "w": (64, 64)}
VIEWS = {"heads": "d h k -> h d k", "q": "d 64+64 -> d 64+64"}
SAME = ("l", "s", "w")


def test_states_go_to_one_device_and_to_other_owners():
    tx = oc.as_matrices(oc.chain(x=oc.scale_by_normuon(ns_steps=1), lr=LR), VIEWS)
    tx = coded(oc.over_layers(tx, ["l", "short"]), min_size=2048, mask="w", slots={"mu": "int16"})
    owned = oc.distributed(tx, "x")
    two = jax.make_mesh((2,), ("x",), devices=jax.devices()[:2])
    params, state = after(owned, TREE, mesh=two, spec=last)
    mu = state["links"]["x"]["scale_by_normuon"]["mu"]
    # What the mask leaves in float32 is a stack beside that of the layers, and so is what is too small.
    wide = {"64x64:float32@2", "16x64:float32@2"}
    assert {key for key, x in mu["codes"].items() if x.dtype == "float32"} == wide
    assert mu["scales"].keys() == mu["codes"].keys() - wide
    alone, expected = after(tx, TREE)
    by_parameters = oc.state_by_parameters(owned, state, params)
    assert jax.tree.structure(by_parameters) == jax.tree.structure(expected)
    assert types(by_parameters) == types(expected)
    require_equal({name: params[name] for name in SAME}, {name: alone[name] for name in SAME}, 1e-6)
    require_equal(params, alone, 1e-2)
    held = [x["links"]["x"]["scale_by_normuon"]["mu"] for x in (by_parameters, expected)]
    for name in SAME:  # rounded at random with the same bits
        require_identical(*({part: tree[name] for part, tree in mu.items() if name in tree} for mu in held))
    four = jax.make_mesh((4,), ("x",), devices=jax.devices()[:4])
    there = {name: jax.device_put(x, jax.NamedSharding(four, last(x.shape))) for name, x in params.items()}
    on_four = oc.state_by_owners(owned, jax.device_get(by_parameters), there)
    assert types(on_four) == types(begun(owned, there))
    again = oc.state_by_parameters(owned, on_four, there)["links"]["x"]["scale_by_normuon"]["mu"]
    for name in TREE:
        pair = [{part: tree[name] for part, tree in mu.items() if name in tree} for mu in (again, held[0])]
        (require_identical if name in SAME else functools.partial(require_equal, rtol=1e-2))(*pair)


def test_matrices_of_many_shapes_are_dealt_out_together():
    shapes = {"l": (11, 32, 32), "s": (8, 8), "v": (40, 40), "w": (24, 40)}
    tx = coded(MUON, min_size=100, slots="int16")
    owned = oc.distributed(tx, "x")
    params, state = after(owned, shapes, steps=2, mesh=mesh("explicit"), spec=lambda shape: jax.P(*[None] * len(shape)))
    mu = state["links"]["muon"]["scale_by_muon"]["mu"]
    assert mu["codes"]["rest@8"].dtype == "int16" and "rest:float32@8" in mu["codes"]
    assert mu["scales"].keys() == {"32x32@8", "rest@8"}
    alone, expected = after(tx, shapes, steps=2)
    require_equal(params, alone, 1e-6)
    by_parameters = oc.state_by_parameters(owned, state, params)
    require_identical(by_parameters["links"]["muon"], expected["links"]["muon"])
    back = oc.state_by_owners(owned, jax.device_get(by_parameters), params)
    require_identical(back, state)


def test_formats_that_do_not_fit_are_named_and_migrated():
    wide, narrow = oc.distributed(MUON, "x"), oc.distributed(coded(MUON), "x")
    params = drawn({"l": (2, 64, 64), "w": (64, 64)}, 0)
    _, state = oc.apply(wide, params, wide.init(params), params)
    with pytest.raises(ValueError, match="'mu' is in float32 in this state, .* keeps it in int8: .*migrate_state"):
        narrow.update(params, state, params)
    moved, report = oc.migrate_state(oc.state_by_parameters(wide, state, params), narrow, params)
    assert report.converted
    _, expected = oc.apply(narrow, params, narrow.init(params), params)
    assert types(moved) == types(expected)
    require_identical(moved["links"]["muon"], expected["links"]["muon"])
    with pytest.raises(ValueError, match="'mu' is in codes in this state, .*keeps it in float32: .*migrate_state"):
        wide.update(params, moved, params)
