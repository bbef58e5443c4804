"""What tracing a step costs beside optax: the counts that must not grow, and the benchmark that shows them."""

import json
import runpy

import jax
import jax.numpy as jnp
import optax
import pytest

from experiments.benchmarks import overhead
from experiments.benchmarks.__main__ import OVERHEADS, main
from experiments.benchmarks.traced import FOLDERS, by_leaf, calls, equations, modules, ours, theirs, transformer

# What was measured; lower them when the library gets better. They depend on no machine, but on the version of JAX.
CALLS = {"adamw": (99, 14), "clip + adamw": (120, 18)}  # for one leaf, for each further leaf; the goal is 120 and 25
EQUATIONS = 3411  # those of optax are 3,982


@pytest.mark.parametrize("name", CALLS)
def test_a_step_makes_no_more_python_calls_than_it_did(name):
    one = {"adamw": overhead.adamw, "clip + adamw": overhead.clipped}[name]()["optchain"]
    found = by_leaf(lambda params: calls(one, params, FOLDERS["optchain"]))
    assert 0 < found["one leaf"] <= CALLS[name][0] and 0 < found["each further leaf"] <= CALLS[name][1]


def test_a_step_has_no_more_equations_than_it_had():
    tree = transformer()
    assert len(jax.tree.leaves(tree)) == 147
    assert 147 < equations(overhead.clipped()["optchain"], tree) <= EQUATIONS


def test_calls_are_counted_in_the_second_trace_and_in_one_folder(tmp_path):
    library, traced = tmp_path / "library.py", []
    library.write_text("def twice(x):\n    return once(once(x))\n\n\ndef once(x):\n    return -x\n")
    twice = runpy.run_path(str(library))["twice"]

    def update(updates, state, params):
        traced.append(params)
        return jax.tree.map(twice, updates), state

    one = ours(optax.GradientTransformation(lambda params: optax.EmptyState(), update))
    assert by_leaf(lambda params: calls(one, params, tmp_path)) == {"one leaf": 3, "each further leaf": 3}
    assert len(traced) == 4 and calls(one, modules(1), tmp_path / "lib") == 0


def test_equations_inside_others_are_counted():
    def update(updates, state, params):
        return jax.lax.cond(params[0] > 0, jax.jit(lambda u: jnp.sin(u) + 1), lambda u: u, updates), state

    one = ours(optax.GradientTransformation(lambda params: optax.EmptyState(), update))
    alone = theirs(optax.GradientTransformation(lambda params: optax.EmptyState(), lambda u, s, p: (u, s)))
    inside = equations(one, jnp.ones(2)) - equations(alone, jnp.ones(2))
    own = len(jax.make_jaxpr(one.step)(jnp.ones(2), optax.EmptyState(), jnp.ones(2)).eqns)
    assert inside == own - 1 + 3  # of `apply_updates` one; in the branches of `cond` `jit`, and in it `sin` and `add`


def test_a_goal_limits_the_count_the_ratio_or_the_difference():
    found = {"optchain": 3.0, "optax": 2.0}
    rows = [overhead.compared("x", found, of, limit) for of, limit in (("count", 3), ("ratio", 1.4), ("difference", 1))]
    assert [(row["goal"], row["met"]) for row in rows] == [("<= 3", True), ("<= 1.4x", False), ("<= +1", True)]
    assert rows[0]["to_optax"] == 1.5 and overhead.compared("x", found)["met"] is None


@pytest.mark.full
def test_overhead_prints_and_records_what_it_measured(tmp_path, monkeypatch, capsys):
    assert tuple(overhead.PARTS) == OVERHEADS
    monkeypatch.setattr(overhead, "transformer", lambda: modules(3))
    monkeypatch.setattr("experiments.benchmarks.traced.MORE", 2)
    path = tmp_path / "overhead.jsonl"
    main(["overhead", "--repeats", "1", "--out", str(path)])
    rows = {row["what"]: row for row in map(json.loads, path.read_text().splitlines())}
    assert len(rows) == 12 and all(row["optchain"] > 0 and row["optax"] > 0 for row in rows.values())
    assert sum(row["goal"] is not None for row in rows.values()) == 7
    assert rows["import, s"]["optchain"] > rows["import, s"]["optax"] and "eager step, ms: 3 leaves" in rows
    assert "trace + lower, ms: 3 leaves" in capsys.readouterr().out
    main(["overhead", "--repeats", "1", "--only", "calls", "--out", str(path)])
    assert len(path.read_text().splitlines()) == 16
