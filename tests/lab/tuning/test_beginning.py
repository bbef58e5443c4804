"""Points that are tried first, and trials of earlier studies."""

import csv

import pydantic
import pytest
import small_studies

from optchain.lab.commands.main import main
from optchain.lab.tuning import working
from optchain.lab.tuning.outcome import outcome
from optchain.lab.tuning.report import lines_of, write
from optchain.lab.tuning.tables import Study

RATE = "optimizer.lr.learning_rate"
SPACE = (
    small_studies.RATE
    + """
"model.hidden" = { use = "choice", values = [[4], [8]] }
"""
)
FIRST = f"""
trials = 4
sampler = "random"
fresh = 0
enqueue = [{{ "{RATE}" = 0.02, "model.hidden" = [8] }}, {{ "{RATE}" = 0.05 }}]
"""


def reopened(found):
    return small_studies.Tuning(found.study, found.folder, "study.toml", "")


@pytest.mark.full
def test_points_are_tried_first_and_missing_values_are_drawn(tmp_path):
    found = small_studies.searched(tmp_path, search=FIRST, space=SPACE)
    first, second, *others = found.trials()
    assert first.labels == {RATE: 0.02, "model.hidden": "[8]"} and first.why == "enqueued"
    assert second.labels[RATE] == 0.05 and second.labels["model.hidden"] in ("[4]", "[8]")
    assert len(others) == 2 and not any(trial.why for trial in others)
    working.search(reopened(found))
    assert len(reopened(found).trials()) == 4  # nothing is tried twice


@pytest.mark.full
def test_points_have_lanes(tmp_path):
    found = small_studies.searched(tmp_path, search=FIRST + 'parallel = "vmap"\nlanes = 3', space=SPACE)
    assert [trial.labels[RATE] for trial in found.trials()[:2]] == [0.02, 0.05] and len(found.trials()) == 4


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"optimizer.lr.learnin_rate": 0.1}, f"no such dimension; did you mean '{RATE}'"),
        ({RATE: 1.0}, "= 1.0; the nearest value is 0.1"),
        ({RATE: "high"}, "= 'high'; expected a number"),
        ({"kind": "adamm"}, "= 'adamm'; did you mean 'adam'"),
        ({"step": 0.25}, "= 0.25; the nearest value is 0.3"),
    ],
)
def test_points_outside_the_space_are_errors(point, message):
    with pytest.raises(pydantic.ValidationError, match=r"search.enqueue\[0\]") as caught:
        study({"trials": 2, "enqueue": [point]})
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"trials": 1, "enqueue": [{RATE: 0.01}, {RATE: 0.02}]}, "search.enqueue has 2 points for search.trials = 1"),
        ({"sampler": "grid", "enqueue": [{RATE: 0.01}]}, "leave out search.enqueue"),
        ({"sampler": "population", "trials": 4, "warm_start": ["x"]}, "leave out search.warm_start"),
    ],
)
def test_what_does_not_fit_is_an_error(search, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        study(search)


def study(search):
    space = {
        RATE: {"use": "log", "low": 1e-3, "high": 1e-1, "points": 2},
        "kind": {"use": "choice", "values": ["adam", "sgd"]},
        "step": {"use": "float", "low": 0.1, "high": 0.9, "step": 0.2},
    }
    task = {"use": "experiments.tasks.circles:circles", "validation": 200}
    optimizer = {"lr": {"use": "scale_by_learning_rate", "learning_rate": 0.01}}
    table = {"task": task, "model": {"hidden": [8]}, "train": {"steps": 10, "batch": 32}, "optimizer": optimizer}
    return Study.model_validate(table | {"search": search, "space": space})


def test_trials_of_an_earlier_study_guide_the_sampler_and_cost_nothing(tmp_path):
    small_studies.searched(tmp_path, "earlier")
    narrow = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-2, high = 1e-1 }'
    search = 'trials = 3\nsampler = "tpe"\nfresh = 0\nwarm_start = ["earlier"]'
    found = small_studies.searched(tmp_path, search=search, space=narrow)
    trials = found.trials()
    earlier, own = ([one for one in trials if (one.state == "earlier") == wanted] for wanted in (True, False))
    old = [one for one in reopened_at(tmp_path / "earlier").trials() if one.labels[RATE] >= 1e-2]
    assert [one.labels for one in earlier] == [one.labels for one in old] and len(old) > 0
    assert [one.score for one in earlier] == [one.score for one in old] and len(own) == 3
    assert earlier[0].why == f"{tmp_path / 'earlier'}, trial {old[0].number}"
    assert found.winner in own and outcome(found).ended == own
    working.search(reopened(found))
    assert len(reopened(found).trials()) == len(trials)
    with (found.folder / "trials.csv").open() as file:
        assert [row["state"] for row in csv.DictReader(file)] == ["earlier"] * len(old) + ["finished"] * 3
    write(found)
    assert f"The sampler also saw {len(old)} trials of earlier studies" in (found.folder / "report.html").read_text()
    assert lines_of(found, outcome(found))[0].startswith("best of 3 trials")


def reopened_at(folder):
    from optchain.lab.tuning.tune import reopened

    return reopened(folder)


def test_earlier_studies_that_do_not_fit_are_errors(tmp_path, capsys):
    small_studies.searched(tmp_path, "earlier", search='trials = 1\nsampler = "random"\nfresh = 0')
    for line, message in (
        ('warm_start = ["earlyer"]', "is not the folder of a study; did you mean 'earlier'"),
        ('warm_start = ["earlier"]\nobjective = "accuracy"', "search.objective was 'loss', here 'accuracy'"),
    ):
        path = small_studies.written(tmp_path, search=f"trials = 1\nfresh = 0\n{line}")
        assert main(["tune", str(path), "--out", str(tmp_path / "none")]) == 2
        assert message in capsys.readouterr().err and not (tmp_path / "none").exists()
