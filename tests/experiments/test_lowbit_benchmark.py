"""What is measured of slots in codes and of split parameters."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from experiments.benchmarks import lowbit, parity
from experiments.benchmarks.__main__ import LOWBIT, parser
from optchain.core.walk import definitions


def test_the_command_names_the_sections_that_there_are():
    assert LOWBIT == lowbit.SECTIONS
    assert parser().parse_args(["lowbit", "bytes"]).sections == ["bytes"]


def test_bytes_of_a_step_are_counted_and_judged(monkeypatch):
    few = {name: lowbit.WAYS[name] for name in ("float32", "int8")}
    monkeypatch.setattr(lowbit, "WAYS", few)
    monkeypatch.setattr(lowbit, "OTHERS", {})
    plain, coded = lowbit.of_bytes(2**18)
    assert plain["state"] == pytest.approx(8, abs=0.01) and plain["with parameters"] == pytest.approx(12, abs=0.01)
    assert 2 < coded["state"] < 2.1
    assert plain["temporary beside a gradient made in the step"] == pytest.approx(0, abs=0.01)
    judged = ("int8", "int4", "split, int8", "split8, int8")
    full = [{**coded, "stored": name} for name in judged]
    goals = list(lowbit.of_goals(full))
    assert len(goals) == 8 and [goal["met"] for goal in goals[:4]] == [True, False, True, False]


def test_ways_are_compared_seed_by_seed_and_a_code_that_diverges_misses():
    losses = {parity.PLAIN: (2.0, 4.0), "int8": (2.01, 4.0), "int4": (2.2, 4.0), parity.LINEAR: (2.0, math.nan)}
    runs = [{"stored": way, "seed": i, "loss": x} for way, xs in losses.items() for i, x in enumerate(xs)]
    rows = list(parity.compared(runs))
    assert [row["off float32 %"] for row in rows[:3]] == pytest.approx([0, 0.25, 5])
    assert rows[2]["least %"] == 0 and rows[2]["most %"] == pytest.approx(10)
    assert [goal["met"] for goal in parity.goals(rows)] == [True, False, True]  # of the linear code: that it fails


def test_a_linear_code_loses_small_squares_that_a_code_keeps():
    params = {"w": jnp.ones((8, 512))}
    grads = {"w": jnp.ones((8, 512)).at[:, ::2].set(1e-3)}
    kept = {}
    for name, tx in {
        "code": oc.precision(oc.scale_by_adam(), slots="int8"),
        "linear": parity.linear(oc.scale_by_adam(), 0),
        "floored": parity.linear(oc.scale_by_adam(), 1),
    }.items():
        state = jax.jit(lambda tx=tx: tx.update(grads, tx.init(params))[1])()
        (slots,) = (state[link.name] for _, link in definitions(tx))
        codes = np.asarray(slots["nu"]["codes"]["w"])
        assert codes.dtype == np.uint8 and (codes[:, 1::2] == 255).all()
        kept[name] = bool((codes[:, ::2] > 0).all())
    assert kept == {"code": True, "linear": False, "floored": True}


@pytest.mark.full
def test_runs_of_a_few_steps_end_near_each_other():
    runs = list(parity.run(steps=4, seeds=1, batch=2, only=["int8"]))
    rows = list(parity.compared(runs))
    assert [row["stored"] for row in rows] == [parity.PLAIN, "int8"]
    assert abs(rows[1]["off float32 %"]) < 1


def test_displacements_are_those_of_float64(tmp_path):
    path = lowbit.run(["growth"], 4, 1, 24, 1, 1, ["adam", "sm3"], tmp_path / "lowbit.jsonl")
    adam, sm3 = map(json.loads, path.read_text().splitlines())
    assert adam["float32"] < 1e-5 < adam["int8"] < adam["int4"] and 1e-4 < adam["int8"] < 0.3
    assert adam["stored by int8"] == "mu:int8 nu:int8"
    assert sm3["int8"] is None and sm3["int4"] is None and sm3["float32"] < 1e-5
