"""What a transformation keeps, and what the compiler counts of a step."""

import dataclasses

import jax
import jax.numpy as jnp
import optax
import pytest
from compiler_counts import counts
from jax.sharding import AxisType

import optchain as oc
from optchain.core.paths import named_leaves

SHAPES = {"bias": (128,), "kernel": (64, 128)}
ENTRIES = 64 * 128 + 128


def shapes(dtype="float32", layout=None):
    return {name: jax.ShapeDtypeStruct(shape, dtype, sharding=layout) for name, shape in SHAPES.items()}


def slots(report):
    """Those that are not scalars."""
    return {(x.link, x.name, x.dtype): x.bytes for x in report.slots if x.entries > x.arrays}


def test_adamw_to_the_byte():
    report = oc.describe(oc.adamw(1e-3), shapes())
    assert (report.parameters, report.parameter_bytes, report.devices) == (ENTRIES, 4 * ENTRIES, 1)
    assert slots(report) == {("adam", "mu", "float32"): 4 * ENTRIES, ("adam", "nu", "float32"): 4 * ENTRIES}
    state = jax.tree.leaves(oc.adamw(1e-3).init({name: jnp.ones(shape) for name, shape in SHAPES.items()}))
    assert report.bytes == report.held == sum(x.nbytes for x in state)
    assert sum(report.by_dtype.values()) == report.bytes and report.by_dtype["float32"] >= 8 * ENTRIES
    mu = next(slot for slot in report.slots if slot.name == "mu")
    assert (mu.technique, mu.arrays, mu.entries, mu.held) == ("scale_by_adam", 2, ENTRIES, 4 * ENTRIES)
    assert not report.sent
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.devices = 2


def test_a_step_is_counted_as_the_compiler_does():
    report, found = oc.describe(oc.adamw(1e-3), shapes()), counts(oc.adamw(1e-3), shapes())
    assert report.accessed / ENTRIES == pytest.approx(found.accessed, rel=1e-6)
    assert report.temporaries / ENTRIES == pytest.approx(found.temporary)


def test_narrow_slots_and_parameters():
    report = oc.describe(oc.precision(oc.adamw(1e-3), params="master", slots="bfloat16"), shapes("bfloat16"))
    assert report.parameter_bytes == 2 * ENTRIES
    assert slots(report) == {
        ("", "rest", "float32"): 4 * ENTRIES,
        ("adam", "mu", "bfloat16"): 2 * ENTRIES,
        ("adam", "nu", "bfloat16"): 2 * ENTRIES,
    }


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
def test_on_a_mesh_a_device_holds_its_share(kind):
    mesh = jax.make_mesh((8,), ("x",), (kind,))
    tx = oc.chain(clip=oc.clip_by_global_norm(1.0), adam=oc.scale_by_adam(), lr=oc.scale(-0.1))
    alone = oc.describe(tx, shapes())
    report = oc.describe(tx, shapes(layout=jax.NamedSharding(mesh, jax.P("x"))))
    assert report.devices == 8 and report.bytes == alone.bytes and slots(report) == slots(alone)
    assert {x.held for x in report.slots if x.name in ("mu", "nu")} == {4 * ENTRIES // 8}
    assert set(report.sent) == {"all-reduce"} and report.sent["all-reduce"].bytes < 100
    assert report.accessed < alone.accessed / 4
    assert "on 8 devices" in str(report) and "it sends 1 all-reduce" in str(report)


def test_owners_and_flat_leaves_are_described_as_they_stand():
    mesh = jax.make_mesh((8,), ("x",), (AxisType.Auto,))
    params = {"kernel": jax.ShapeDtypeStruct((101, 33), "float32", sharding=jax.NamedSharding(mesh, jax.P()))}
    report = oc.describe(oc.flat(oc.scale_by_adam(), "x", min_size=1), params)
    assert slots(report) == {("", "mu", "float32"): 4 * 3336, ("", "nu", "float32"): 4 * 3336}
    assert report.held < report.bytes / 7 and report.sent["all-gather"].bytes == 4 * 3336


def test_transformations_of_optax_by_the_structure_of_their_state():
    report = oc.describe(optax.chain(optax.clip(1.0), optax.adam(1e-3)), shapes())
    assert slots(report) == {("1/0", "mu", "float32"): 4 * ENTRIES, ("1/0", "nu", "float32"): 4 * ENTRIES}
    assert report.bytes == 8 * ENTRIES + 4
    mixed = oc.describe(optax.chain(optax.trace(0.9), oc.scale_by_adam()), shapes())
    assert [key[1] for key in slots(mixed)] == ["trace", "mu", "nu"]


def test_what_is_masked_or_frozen_takes_nothing():
    masked = oc.describe(oc.scale_by_adam(mask="kernel"), shapes())
    assert slots(masked) == dict.fromkeys([("", "mu", "float32"), ("", "nu", "float32")], 4 * 64 * 128)
    frozen = oc.describe(oc.groups(oc.adamw(1e-3), {"kernel": oc.FROZEN, "*": {}}), shapes())
    assert set(slots(frozen).values()) == {4 * 128}
    inside = oc.describe(optax.masked(optax.adam(1e-3), {"kernel": False, "bias": True}), shapes())
    assert set(slots(inside).values()) == {4 * 128}


def test_what_is_no_parameter_takes_nothing():
    still = {"ids": jax.ShapeDtypeStruct((8,), "int32"), "act": jnp.tanh, "none": None, "empty": jnp.ones((0, 2))}
    report = oc.describe(oc.adamw(1e-3), shapes() | still)
    assert report.parameters == ENTRIES and slots(report) == slots(oc.describe(oc.adamw(1e-3), shapes()))


def test_extra_arguments_are_given():
    with pytest.raises(ValueError, match="value"):
        oc.describe(oc.momo(1.0), shapes())
    assert oc.describe(oc.momo(1.0), shapes(), value=jax.ShapeDtypeStruct((), "float32")).bytes > 4 * ENTRIES


def test_nothing_is_allocated():
    params = shapes() | {"large": jax.ShapeDtypeStruct((1 << 20, 1 << 14), "float32")}
    before = len(jax.live_arrays())
    assert oc.describe(oc.adamw(1e-3), params).bytes > 1 << 37
    assert len(jax.live_arrays()) <= before + 2  # constants


def test_it_fits_a_screen():
    lines = str(oc.describe(oc.muon(0.02), shapes())).splitlines()
    assert lines[0] == "8,320 parameters of 33,280 bytes" and len(lines) < 25 and max(map(len, lines)) <= 120
    assert lines[2].split() == ["link", "technique", "slot", "dtype", "bytes", "bytes/param"]
    assert "a step reads and writes" in lines[-2] and "temporaries" in lines[-1]


@pytest.mark.parametrize(
    "params, found",
    [
        ({}, "found no leaves"),
        ({"ids": jnp.arange(3), "act": jnp.tanh}, r"found 'act' of type \w+, 'ids' int32\[3\]"),
        ({"w": jnp.ones((0, 3))}, r"found 'w' float32\[0, 3\]"),
    ],
    ids=["none", "what does not move", "no entries"],
)
def test_without_parameters_there_is_an_error(params, found):
    with pytest.raises(ValueError, match=f"describe: there are no parameters to step: {found}; expected arrays or"):
        oc.describe(oc.adamw(1e-3), params)


def test_the_names_of_the_state_are_those_of_its_arrays():
    """Every array is counted once."""
    tx = oc.guard(oc.accumulate(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(1e-3)), 2))
    state = jax.eval_shape(tx.init, shapes())
    report = oc.describe(tx, shapes())
    assert sum(slot.arrays for slot in report.slots) == len(named_leaves(state))
    assert report.bytes == sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
