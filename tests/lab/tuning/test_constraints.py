"""Constraints of trials, and the evaluation that judges them."""

import dataclasses
import re

import optuna
import pydantic
import pytest
import small_studies

from optchain.lab.commands.main import main
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.tuning.best_so_far import best_so_far
from optchain.lab.tuning.display import Standings
from optchain.lab.tuning.report import write
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.trials import best

WIDTH = '"model.hidden" = { use = "choice", values = [[4], [8], [16]] }'
SEARCH = 'sampler = "grid"\nfresh = 0\n'


@pytest.mark.parametrize("parallel", ["none", "vmap"])
@pytest.mark.full
def test_the_best_keeps_to_the_constraints(tmp_path, parallel):
    search = SEARCH + f'parallel = "{parallel}"\nconstraints = {{ parameters = {{ at_least = 20, at_most = 40 }} }}'
    found = small_studies.searched(tmp_path, search=search, space=WIDTH)
    # Of 2 inputs, a hidden layer and an output: 17, 33 and 65 parameters.
    assert [trial.broken for trial in found.trials()] == [["parameters"], [], ["parameters"]]
    assert found.winner.labels["model.hidden"] == "[8]"
    write(found)
    page = (found.folder / "report.html").read_text()
    curve = best_so_far(found.trials(), found.study.search, 1)
    assert set(curve.score) == {found.winner.score}  # the others count as the worst that keeps to them
    assert "constrained: parameters" in page and "breaks parameters" in page


def test_what_is_shown_meanwhile_ranks_those_that_keep_to_them(tmp_path, capsys):
    """The best loss belongs to a trial that breaks a constraint."""
    bound = "constraints = { parameters = { at_most = 40 } }"
    found = small_studies.searched(tmp_path, search=SEARCH + bound, space=WIDTH)
    trials = [dataclasses.replace(trial, score=1.0 - trial.number / 10) for trial in found.trials()]
    table = Standings(3, found.objective)._table(trials, trials)
    assert list(table.columns[0].cells) == ["1", "0"] and best(trials, found.objective).number == 1
    assert table.title == "3 of 3 trials: 3 finished; 1 of the finished ones break search.constraints"
    said = capsys.readouterr().err.splitlines()
    assert ["  breaks parameters" in line for line in said if "  trial " in line] == [False, False, True]


@pytest.mark.full
def test_no_trial_may_keep_to_them(tmp_path, capsys):
    constraints = "constraints = { accuracy = { at_least = 2.0 }, steps_per_second = { at_most = 1e-3 } }"
    path = small_studies.written(tmp_path, search=SEARCH + constraints, space=WIDTH)
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 3
    said = "none of 3 finished trials keeps to search.constraints: accuracy (3 trials), steps_per_second (3 trials)"
    assert said in capsys.readouterr().out and said in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "optuna.samplers:TPESampler"])
def test_samplers_know_the_constraints(tmp_path, sampler):
    search = f'trials = 3\nsampler = "{sampler}"\nfresh = 0\nconstraints = {{ loss = {{ at_most = 1e-3 }} }}'
    found = small_studies.searched(tmp_path, search=search)
    kept = [trial.constraints for trial in found.claims.optuna_study.get_trials()]
    assert all(one["loss"] > 0 for one in kept) and len(kept) == 3


def test_constraints_that_are_none_are_errors(tmp_path, capsys):
    path = small_studies.written(tmp_path, search="trials = 1\nconstraints = { parameter = { at_most = 1 } }")
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "search.constraints.parameter: nothing measures that; did you mean 'parameters'" in capsys.readouterr().err
    for bound, message in (({}, "expected at_least, at_most or both"), ({"at_mos": 1}, "did you mean 'at_most'")):
        with pytest.raises(pydantic.ValidationError, match=message):
            Search.model_validate({"trials": 1, "constraints": {"loss": bound}})


@pytest.mark.parametrize("parallel", ["none", "vmap"])
def test_the_best_evaluation_of_a_trial_may_count(tmp_path, parallel):
    space = '"optimizer.lr.learning_rate" = { use = "choice", values = [0.05, 2.0, 3.0] }'
    search = SEARCH + f'seeds = 2\njudge = "best"\nparallel = "{parallel}"'
    found = small_studies.searched(tmp_path, search=search, space=space)
    for trial in found.trials():
        rows = [evaluations(read(path)) for path in sorted(trial.folder.glob("*/metrics.jsonl"))]
        best = [min(rows, key=lambda row: row["validation_loss"]) for rows in rows]
        assert len(best) == 2
        assert trial.score == pytest.approx(sum(row["validation_loss"] for row in best) / 2)
        assert trial.scores["accuracy"] == pytest.approx(sum(row["validation_accuracy"] for row in best) / 2)


def test_a_study_is_copied_for_optuna(tmp_path, capsys):
    found = small_studies.searched(tmp_path)
    path = tmp_path / "optuna.db"
    assert main(["report", str(found.folder), "--optuna", str(path)]) == 0
    copy = optuna.load_study(study_name="out", storage=f"sqlite:///{path}")
    kept = found.claims.optuna_study.get_trials()
    assert [(one.number, one.params, one.values) for one in copy.trials] == [
        (one.number, one.params, one.values) for one in kept
    ]
    assert copy.trials[0].intermediate_values == kept[0].intermediate_values and copy.metric_names == ["loss"]
    assert main(["report", str(found.folder), "--optuna", str(path)]) == 2
    assert "exists; choose another file" in capsys.readouterr().err


def test_marks_say_which_trial_they_are(tmp_path):
    found = small_studies.searched(tmp_path)
    write(found)
    page = (found.folder / "report.html").read_text()
    for trial in found.trials():
        titles = re.findall(rf"<title>trial {trial.number}, finished\nloss [0-9.]+\n[a-z._]+ = [^<]+</title>", page)
        assert len(titles) == 2 + (trial.number == found.winner.number)  # of the slice and the parallel coordinates
