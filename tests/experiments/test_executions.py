"""Techniques by executions: what counts as right, refused and wrong, what is run again, and what the page says."""

import inspect

import jax
import pytest

import optchain as oc
from experiments.benchmarks import executions
from experiments.benchmarks.__main__ import parser
from experiments.benchmarks.cases import Case
from experiments.benchmarks.executions_page import page_of
from experiments.benchmarks.ways import EXACT, ROUNDING, WAYS, Way
from optchain.core.registry import registered

FEW = ("clip", "scale_by_muon", "guard")


def case(name):
    return Case(name, registered()[name])


def outcome(name, column):
    return executions.outcome_of(case(name), WAYS[column])


def test_the_options_are_the_arguments():
    options = set(vars(parser().parse_args(["executions"]))) - {"benchmark"}
    assert options == set(inspect.signature(executions.run).parameters)


def test_every_technique_but_the_presets_is_a_row():
    names = dict(executions.rows())
    assert {"scale_by_adam", "rows", "graft"} <= set(names) and not {"adamw", "chain", "constant"} & set(names)


@pytest.mark.parametrize(
    ("name", "column", "expected"),
    [
        ("clip", "rows", ("right", "exact")),
        ("clip", "owners", ("-", "no link of it declares `core_ndim = 2`, that it looks across a matrix")),
        ("clip", "int8", ("-", "no link of it declares in `kinds` a slot that bears a code")),
        ("clip", "split", ("right", "")),
        ("guard", "packed", ("right", "inside")),
        ("trace", "ZeRO-1", ("right", "flat")),
        ("scale_by_muon", "owners", ("right", "")),
        ("add_noise", "stacked", ("exempt", "add_noise: each leaf has random numbers of its own, and stacked layers")),
        ("scale_by_muon", "rows", ("refused", "rows: link 'scale_by_muon' mixes the rows of a table")),
        ("packed", "over_axes", ("refused", "packed: over_axes around packed(...) cannot tell which leaf is split")),
    ],
)
def test_what_comes_of_a_pair(name, column, expected):
    found, text = outcome(name, column)
    assert found == expected[0] and text.startswith(expected[1]) and bool(text) == bool(expected[1])


def broken(error):
    def run(case):
        raise error

    return Way(run, "", "", ("packed",))


def test_steps_that_differ_and_errors_that_name_nobody_are_wrong():
    own = case("clip")
    still = Way(lambda case: case.require_near(case.params, EXACT, ROUNDING), "", "")
    assert executions.outcome_of(own, still)[0] == "WRONG"
    lost = jax.tree.map(lambda p: p * float("nan"), own.params)
    assert executions.outcome_of(own, Way(lambda case: case.require_near(lost, 1e9, 1e9), "", ""))[0] == "WRONG"
    assert executions.outcome_of(own, broken(ValueError("add got incompatible shapes")))[0] == "WRONG"
    assert executions.outcome_of(own, broken(ValueError("clip_by_norm: no")))[0] == "WRONG"
    assert executions.outcome_of(own, broken(KeyError("clip")))[0] == "WRONG"
    assert executions.outcome_of(own, broken(ValueError("clip: no\nmore")))[:] == ("refused", "clip: no")
    assert executions.outcome_of(own, broken(TypeError("packed: no")))[0] == "refused"


def test_a_cut_run_goes_on_and_named_ones_are_run_again(tmp_path, monkeypatch):
    monkeypatch.setattr(executions, "rows", lambda: iter([(name, registered()[name]) for name in FEW]))
    ran = []
    ways = {name: Way(lambda case, name=name: ran.append((case.name, name)) or "", "", "") for name in WAYS}
    monkeypatch.setattr(executions, "WAYS", ways)
    page, out = tmp_path / "docs" / "page.md", tmp_path / "cells.jsonl"
    executions.run(["clip"], ["dense", "rows"], page, out)
    assert ran == [("clip", "dense"), ("clip", "rows")]
    assert "2 `right`" in page.read_text() and "34 were not run" in page.read_text()
    with out.open("a") as file:
        file.write('{"technique": "guard", "exec')
    ran.clear()
    executions.run([], [], page, out)
    assert len(ran) == 3 * len(WAYS) - 2 and ("clip", "dense") not in ran
    assert f"{3 * len(WAYS)} `right`" in page.read_text() and "were not run" not in page.read_text()
    ran.clear()
    executions.run([], [], page, out)
    assert ran == []
    executions.run([], ["packed"], page, out)
    assert ran == [(name, "packed") for name in FEW]
    with pytest.raises(SystemExit, match="did you mean 'clip'"):
        executions.run(["clipp"], [], page, out)


def cell(technique, execution, outcome, text=""):
    return {"technique": technique, "rule": True, "execution": execution, "outcome": outcome, "text": text}


def test_the_page_lists_what_is_wrong_first_and_each_reason_once():
    found = [
        cell("clip", "rows", "WRONG", "off by 3"),
        cell("clip", "packed", "refused", "packed: clip does not fit"),
        cell("ema", "packed", "refused", "packed: ema does not fit"),
    ]
    page = page_of({(x["technique"], x["execution"]): x for x in found})
    assert page.index("- `clip`, rows: `off by 3`") < page.index("| technique |")
    assert page.count("packed: T does not fit") == 1 and page.count("refused 1") == 2
    assert "21 were not run: their cells are empty" in page
    assert "There are none" not in page and "There are none" in page_of({("clip", "packed"): found[1]})


def test_a_law_says_what_is_refused():
    (finding,) = oc.check_laws(oc.packed(oc.sgd(0.1)), only=["over_axes"]).findings
    assert finding.outcome == "holds" and finding.reason.startswith("packed: over_axes around packed(...)")
