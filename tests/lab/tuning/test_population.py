import csv
import html

import numpy as np
import pytest
import small_studies

from optchain.lab.base.signals import Interrupted
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import scores_of
from optchain.lab.tuning.outcome import _ends
from optchain.lab.tuning.population import Population
from optchain.lab.tuning.study_charts import last_label
from optchain.lab.tuning.trials import Trial

SEARCH = """
sampler = "population"
trials = 4
fresh = 1
population = { every = 10, share = 0.25, resample = 0.0, factors = [0.5, 2.0] }
"""
RATE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-4, high = 1e-1 }'


def trained(folder, name="out", steps=40, **texts):
    path = small_studies.written(folder, **({"search": SEARCH, "space": RATE} | texts))
    assert main(["tune", str(path), "--out", str(folder / name), "--set", f"train.steps={steps}"]) == 0
    return folder / name


def changes(folder):
    with (folder / "population.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def losses(folder):
    runs = sorted(path.parent for path in folder.glob("trials/*/*/result.json"))
    return [scores_of(Run(path).result, "validation")["loss"] for path in runs]


@pytest.mark.full
def test_the_worst_follow_the_best_with_other_numbers(tmp_path):
    folder = trained(tmp_path)
    rows = changes(folder)
    moved = [row for row in rows if row["step"] > 0]
    assert moved and all(row["from"] != row["member"] for row in moved if row["step"] == 10)
    key = "optimizer.lr.learning_rate"
    for row in moved:
        line = [one for one in rows if one["member"] == row["member"] and one["step"] < row["step"]]
        factor = row[key] / line[-1][key]
        assert np.isclose(factor, 0.5) or np.isclose(factor, 2.0) or row[key] in (1e-4, 1e-1)


@pytest.mark.full
def test_the_best_configuration_is_the_winners_line_of_ancestors(tmp_path):
    folder = trained(tmp_path)
    best = config.load(folder / "best.toml")
    rates = best.optimizer["lr"]["learning_rate"]
    rows = changes(folder)
    lines = [[row for row in rows if row["member"] == i] for i in range(4)]
    winner = lines[int(np.argmin(losses(folder)))]
    if isinstance(rates, dict):
        assert rates["values"] == [row["optimizer.lr.learning_rate"] for row in winner]
        assert rates["boundaries"] == [row["step"] for row in winner[1:]]
    else:
        assert rates == winner[0]["optimizer.lr.learning_rate"] and len(winner) == 1


@pytest.mark.full
def test_a_population_that_is_stopped_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch):
    whole = trained(tmp_path, "whole")
    save = Population._save

    def stop(self):
        save(self)
        if self.step == 20:
            raise Interrupted(15)

    monkeypatch.setattr(Population, "_save", stop)
    path = small_studies.written(tmp_path, search=SEARCH, space=RATE)
    arguments = ["tune", str(path), "--out", str(tmp_path / "parts"), "--set", "train.steps=40"]
    assert main(arguments) == 128 + 15
    monkeypatch.setattr(Population, "_save", save)
    assert main(arguments) == 0
    assert changes(tmp_path / "parts") == changes(whole)
    assert losses(tmp_path / "parts") == losses(whole)


def test_what_is_no_number_of_the_loop_is_an_error(tmp_path, capsys):
    space = '"train.batch" = { use = "int", low = 8, high = 16 }'
    path = small_studies.written(tmp_path, search=SEARCH, space=space)
    assert main(["tune", str(path), "--out", str(tmp_path / "other")]) == 2
    assert "a population changes numbers" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("key", ["seeds = 2", "folds = 3", 'parallel = "processes"', "seconds = 3.0"])
def test_a_population_trains_to_its_end(tmp_path, capsys, key):
    path = small_studies.written(tmp_path, search=SEARCH + key, space=RATE)
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert f"leave out search.{key.split()[0]}" in capsys.readouterr().err


@pytest.mark.full
def test_the_best_is_shown_as_the_schedule_that_it_was(tmp_path, capsys):
    folder = trained(tmp_path)
    key, text = "optimizer.lr.learning_rate", capsys.readouterr().out
    best = config.load(folder / "best.toml").optimizer["lr"]["learning_rate"]
    best = best if isinstance(best, dict) else {"values": [best], "boundaries": []}  # of a member that never moved
    first, *later = best["values"]
    pieces = [f"{x:.4g} (step {step})" for x, step in zip(later, best["boundaries"], strict=True)]
    words = " -> ".join([f"{first:.4g}", *pieces])
    assert f"{key} = {words}\n" in text
    assert f">{html.escape(words)}</td>" in (folder / "report.html").read_text()


def test_a_long_schedule_is_shown_by_its_ends():
    values = {"use": "piecewise", "values": [0.1, 0.2, 0.3, 0.4, 0.5], "boundaries": [10, 20, 30, 40]}
    common = {"scores": {}, "steps": 50, "seconds": {}, "why": "", "folder": None}
    trial = Trial(number=0, labels={"a": 0.1, "b": 1}, state="finished", score=0.5, schedule={"a": values}, **common)
    assert trial.words == {"a": "0.1 -> ... 3 values ... -> 0.5 (step 40)", "b": "1"}
    assert str(trial) == "trial 0  a=0.1 -> ... 3 values ... -> 0.5 (step 40)  b=1  0.5000"
    assert _ends(trial) == {"a": 0.5, "b": 1}


def test_slices_show_the_values_that_members_had_in_the_end(tmp_path):
    member = Trial(0, {"a": 0.5, "b": 1.0}, "finished", 0.1, {}, 40, {}, "", tmp_path, {"a": CHANGED, "b": 2.0})
    assert (last_label(member, "a"), last_label(member, "b")) == (0.25, 2.0)


CHANGED = {"use": "piecewise", "values": [0.5, 0.25], "boundaries": [10]}
