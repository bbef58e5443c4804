"""What is measured of matrices by owners, and of how cost grows."""

import jax
import jax.numpy as jnp
import pytest

import optchain as oc
from experiments.benchmarks import distributed, growth, loops
from optchain.inspect.collectives import Sent, collectives


def test_goals_are_judged_by_the_worst_layout():
    row = {"technique": "muon", "run": "by owners", "flops": 0.13, "state": 0.125, "differs by": 0.0}
    rows = [row | {"layout": "rows", "B sent": 2 * 4096}, row | {"layout": "columns", "B sent": 4096, "flops": 0.5}]
    rows.append(row | {"layout": "copies", "B sent": 10**6})
    goals = list(distributed.of_goals(rows, 32))
    assert [goal["met"] for goal in goals] == [False, True, True, True]
    assert goals[0]["measured"] == 0.5 and goals[2]["measured"] == 2.0


@pytest.mark.full
def test_by_owners_the_arithmetic_of_muon_is_divided():
    goals = list(distributed.of_goals(list(distributed.of_matrices("muon", oc.scale_by_muon(), 32)), 32))
    assert len(goals) == 4 and all(goal["met"] for goal in goals), goals


@pytest.mark.full
def test_steps_on_data_in_memory_and_in_its_file():
    rows = list(growth.of_data(20, [2000]))
    assert [row["run"] for row in rows] == ["in memory", "streamed"]
    for row in rows:
        assert row["rows"] == 2000 and 0 < row["seconds of one"] < 10 and row["peak MB"] > 100


def test_a_command_that_fails_says_so():
    with pytest.raises(RuntimeError, match="(?s)optchain train missing.toml failed:.*missing.toml"):
        growth.timed(["train", "missing.toml"])


def test_what_stands_in_a_loop_counts_each_time():
    mesh = jax.make_mesh((2,), ("x",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:2])

    def layers(x, w):
        return jax.lax.scan(lambda x, w: (jax.lax.psum(x @ w, "x"), None), x, w)[0]

    specs = jax.P(None, "x"), jax.P(None, "x", None)
    mapped = jax.shard_map(layers, mesh=mesh, in_specs=specs, out_specs=jax.P(), check_vma=False)
    text = jax.jit(mapped).lower(jnp.ones((4, 8)), jnp.ones((3, 8, 4))).compile().as_text()
    assert loops.flops(text) == 3 * 2 * 4 * 4 * 4
    assert loops.sent(text)["all-reduce"] == Sent(3, 3 * 4 * 4 * 4)
    assert collectives(text)["all-reduce"].count == 1  # once, as the compiler counts
