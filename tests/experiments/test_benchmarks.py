import json
import subprocess
import sys
import time

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

from experiments.benchmarks import control, laws, loop, masks, matrices, record, rows, step, trees
from experiments.benchmarks.__main__ import main
from experiments.benchmarks.contenders import no_torch
from experiments.benchmarks.counts import passes
from experiments.benchmarks.timing import interleaved
from experiments.benchmarks.twins import pairs

torch = pytest.mark.skipif(no_torch() is not None, reason="torch is not installed")


def test_help_answers_before_jax_is_imported():
    code = (
        "import sys; sys.argv = ['benchmarks', '--help']\n"
        "import runpy\n"
        "try: runpy.run_module('experiments.benchmarks', run_name='__main__')\n"
        "except SystemExit: print('jax' in sys.modules)"
    )
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
    assert "step" in done.stdout and "loop" in done.stdout
    assert time.perf_counter() - start < 5  # half a second on an idle machine; importing JAX is what costs more


@pytest.mark.parametrize("number", ["0", "-3"])
def test_a_count_below_one_is_refused(number, capsys):
    with pytest.raises(SystemExit):
        main(["loop", "--steps", number])
    assert f"at least 1, got {number}" in capsys.readouterr().err


def test_the_tree_is_a_transformer_of_the_announced_size():
    tree = trees.gpt(layers=12, width=448)
    assert trees.size(tree) == 12 * (12 * 448**2 + 13 * 448) + (4096 + 1024 + 2) * 448
    assert len(jax.tree.leaves(tree)) == 12 * 12 + 4


@pytest.mark.full
@pytest.mark.parametrize("max_norm", one_of_each([0.5, None]))
def test_the_contenders_take_the_same_steps(max_norm, monkeypatch):
    monkeypatch.setattr(step, "MAX_NORM", max_norm or step.MAX_NORM)
    params = trees.normal(trees.gpt(1, 8, 16, 4), 0, 1.0)
    grads = trees.normal(params, 1, 1.0)
    contenders = {key[1]: c for key, c in step.adamws(params, grads).items() if (key[0] == "adamw") == (not max_norm)}
    # One step: torch clips in place, so that its gradients differ from the second on.
    for contender in contenders.values():
        contender.take()
    assert len(contenders) == (2 if no_torch() else 3)
    for contender in contenders.values():
        chex.assert_trees_all_close(contender.arrays(), contenders["optax"].arrays(), rtol=1e-5, atol=1e-6)
        assert all((a != np.asarray(p)).any() for a, p in zip(contender.arrays(), jax.tree.leaves(params), strict=True))


# What differs by design, as the tests of these techniques show: random bits, the axis of outputs, steps of optax's that
# come one late, slots of another shape or that begin at 0.
OWN_WAY = {"add_noise", "centralize", "rprop", "scale_by_rprop", "scale_by_sm3", "scale_by_yogi"}


@pytest.mark.full
def test_twins_take_the_same_steps():
    params = {"w": jnp.linspace(-1.0, 1.0, 64)}
    grads = {"w": jnp.sin(jnp.arange(64.0))}
    names = []
    for name, ours, theirs in pairs():
        contenders = step.twins(name, ours, theirs, params, grads)
        for _ in range(3):
            for contender in contenders.values():
                contender.take()
        one, other = (contender.arrays() for contender in contenders.values())
        if name not in OWN_WAY:
            chex.assert_trees_all_close(one, other, rtol=2e-5, atol=1e-6, custom_message=name)
        names.append(name)
    assert {"adamw", "lion", "momentum", "nesterov", "rmsprop", "rmsprop centered", "sgd"} <= set(names)


def test_the_loops_train_the_same_network_on_the_same_batches():
    compiled, python = (prepare(30, 64)[0]() for prepare in (loop.compiled_loop, loop.python_loop))
    chex.assert_shape(compiled, (30,))
    chex.assert_trees_all_close(compiled, python, atol=1e-4)
    assert compiled[-5:].mean() < compiled[:5].mean()


@torch
def test_torch_trains_the_same_network_on_the_same_batches():
    chex.assert_trees_all_close(loop.torch_loop(30, 64)[0](), loop.python_loop(30, 64)[0](), atol=1e-4)


def test_every_round_calls_each_contender_once_after_one_that_is_not_counted():
    calls = []
    seconds = interleaved({name: lambda name=name: calls.append(name) for name in "abc"}, repeats=4)
    assert {name: len(times) for name, times in seconds.items()} == {"a": 4, "b": 4, "c": 4}
    rounds = [calls[i : i + 3] for i in range(0, 15, 3)]
    assert all(sorted(turn) == ["a", "b", "c"] for turn in rounds)
    assert len(set(map(tuple, rounds))) > 1


def test_goals_are_met_at_their_limits_and_missed_beyond():
    assert record.goal("bytes", 44.5, 44.5)["met"] and not record.goal("bytes", 44.6, 44.5)["met"]
    assert record.goal("speed", 2.0, 2, at_least=True)["met"] and not record.goal("speed", 1.9, 2, at_least=True)["met"]


def test_passes_counts_the_operations_that_write_the_array():
    def two(x, y):
        return x * 2 + y, y - x.sum()

    x = jnp.ones((512, 64))
    hlo = jax.jit(two).lower(x, x).compile().as_text()
    assert passes(hlo, (512, 64)) == 2
    assert passes(hlo, (3, 3)) == 0


@pytest.mark.full
def test_step_prints_and_records_what_it_measured(tmp_path, capsys):
    path = step.run(parameters=4096, layers=1, width=16, repeats=2, out=tmp_path / "deep" / "step.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    measured = [row for row in rows if "technique" in row]
    assert {(row["tree"], row["technique"]) for row in measured} >= {
        (tree, technique) for tree in ("leaf", "gpt") for technique in ("adamw", "clip + adamw")
    }
    for row in measured:
        assert 0 < row["ms_min"] <= row["ms_median"]
        assert row["library"] == "torch" or row["bytes_per_param"] >= 12
        assert row["jax"] == jax.__version__ and row["cpus"] >= 1 and row["time"].endswith("+00:00")
    assert sum("goal" in row for row in rows) == 8
    printed = capsys.readouterr().out
    assert "clip + adamw: bytes/param <= 44.5" in printed
    assert "\x1b" not in printed and "│" not in printed  # plain lines, for this is no terminal


@pytest.mark.full
def test_every_technique_is_measured_on_each_tree_that_it_takes(tmp_path, capsys):
    path = step.every(64, 1, 4, 3, repeats=1, only=["adamw", "lion"], out=tmp_path / "all.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {(row["tree"], row["technique"], row["library"]) for row in rows} == {
        (tree, name, library)
        for tree in ("leaf", "gpt", "small leaves")
        for name in ("adamw", "lion")
        for library in ("optchain", "optax")
    }
    printed = capsys.readouterr().out
    assert printed.count("geometric mean") == 3 and path.with_suffix(".png").stat().st_size > 10_000


@pytest.mark.full
def test_loop_prints_and_records_what_it_measured(tmp_path, capsys):
    path = loop.run(steps=20, batch=64, repeats=2, out=tmp_path / "loop.jsonl")
    loop.run(steps=20, batch=64, repeats=2, out=path)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(rows) == 2 * (4 if no_torch() else 6)
    row = next(row for row in rows if row.get("loop") == loop.COMPILED)
    assert row["steps_per_second"] == pytest.approx(1e6 / row["us_per_step_min"], rel=1e-3)
    assert loop.COMPILED in capsys.readouterr().out


@pytest.mark.full
def test_without_torch_its_rows_are_left_out_with_a_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    path = step.run(parameters=256, layers=1, width=8, repeats=1, out=tmp_path / "step.jsonl")
    assert "torch rows left out: torch is not installed" in capsys.readouterr().out
    assert all(json.loads(line).get("library") != "torch" for line in path.read_text().splitlines())


@pytest.mark.full
def test_laws_prints_and_records_what_holds(tmp_path, capsys):
    chosen = ["avals_mixed", "stacked_layers", "constant_gradients"]
    path = laws.run(["oc.add_noise", "optax.adam"], chosen, tmp_path / "laws.jsonl")
    ours, theirs = (json.loads(line) for line in path.read_text().splitlines())
    assert ours["laws"] == dict(zip(chosen, ["holds", "exempt", "skipped"], strict=True)) and ours["broken"] == 0
    assert theirs["laws"] == dict(zip(chosen, ["broken", "holds", "skipped"], strict=True))
    assert (
        "expected" in theirs["reasons"]["avals_mixed"] and "add_noise: each leaf" in ours["reasons"]["stacked_layers"]
    )
    printed = capsys.readouterr().out
    assert "-e." in printed and "-.X" in printed  # in the order of the laws
    assert laws.cells([ours])[0]["exempt"] == "1 (33.3%)"
    assert next(row for row in laws.totals([ours, theirs]) if row["law"] == "avals_mixed") == {
        "law": "avals_mixed",
        **{f"optchain: {x}": n for x, n in {"hold": 1, "exempt": 0, "n/a": 0, "broken": 0}.items()},
        **{f"optax: {x}": n for x, n in {"hold": 0, "exempt": 0, "n/a": 0, "broken": 1}.items()},
    }
    names = [name for name, _ in laws.transformations()]
    assert {"oc.adamw", "optax.lion", "optax.contrib.muon"} <= set(names) and len(names) == len(set(names))


@pytest.mark.full
def test_control_prints_and_records_what_it_measured(tmp_path, capsys):
    path = control.run(parameters=256, width=8, repeats=1, out=tmp_path / "control.jsonl")
    rows = {(row["technique"], row["library"]): row for row in map(json.loads, path.read_text().splitlines())}
    assert len(rows) == 12 and all(0 < row["ms_min"] <= row["ms_mean"] for row in rows.values())
    assert ("accumulate 8, muon", "optchain") in rows and rows["adamw", "optax"]["mean_to_optax"] == 1
    assert "accumulate 4, guard, clip" in capsys.readouterr().out


@pytest.mark.full
def test_matrices_prints_and_records_what_it_measured(tmp_path, capsys, monkeypatch):
    chosen = {name: matrices.TECHNIQUES[name] for name in ("muon", "soap")}
    monkeypatch.setattr(matrices, "TECHNIQUES", chosen)
    path = matrices.run(layers=2, width=8, repeats=1, out=tmp_path / "matrices.jsonl")
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    found = {(row["tree"], row["technique"], row["library"]) for row in rows}
    assert found == {
        (tree, *key)
        for tree in ("leaves", "stacked")
        for key in [(n, "optchain") for n in chosen] + [("muon", "optax")]
    }
    assert all(row["parameters"] == 2 * 12 * 8**2 and 0 < row["ms_min"] <= row["ms_mean"] for row in rows)
    assert "mean_to_muon" in capsys.readouterr().out


@pytest.mark.full
def test_rows_and_their_goals_are_measured_and_recorded(tmp_path, capsys):
    path = rows.run(rows=2000, width=4, ids=32, repeats=2, out=tmp_path / "rows.jsonl")
    found = [json.loads(line) for line in path.read_text().splitlines()]
    ways = {"optax, dense", "rows, lazy", "rows, decay-corrected", "rows, decay-corrected adamw"}
    ways |= set() if no_torch() else {"torch SparseAdam"}
    assert {(row["what"], row["contender"]) for row in found if "what" in row} == {
        (what, way) for what in ("update", "train step") for way in ways
    }
    assert [row["look_ups_per_row"] for row in found if "look_ups_per_row" in row] == list(rows.SHARES)
    assert sum("goal" in row for row in found) == (4 if no_torch() else 8)
    assert "times faster" in capsys.readouterr().out


def test_look_ups_are_rarer_the_later_a_row_stands():
    counts = np.bincount(np.concatenate(rows.zipf(50, 4096)), minlength=50)
    assert counts[0] > 1.5 * counts[1] > 1.5 * counts[4] > 0 and len(counts) == 50


@pytest.mark.full
def test_masks_are_measured_beside_bare_adamw(tmp_path):
    path = masks.run(parameters=4096, repeats=2, out=tmp_path / "masks.jsonl")
    found = {row["technique"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert found["adamw"]["to_bare"] == 1
    assert found["mask_updates"]["bytes_per_param"] <= found["adamw"]["bytes_per_param"] + 1.5
    assert found["sparse, static"]["bytes_per_param"] <= found["adamw"]["bytes_per_param"] + 3.5
