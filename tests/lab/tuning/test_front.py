"""Several objectives."""

import csv

import pydantic
import pytest
import small_studies

from optchain.lab.commands.main import main
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.trials import front

SEARCH = """
trials = 8
fresh = 1
sampler = "{sampler}"
objective = ["loss", {{ name = "accuracy", direction = "minimize" }}]
"""


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_a_study_with_two_objectives_has_a_front(tmp_path, capsys, sampler):
    path = small_studies.written(tmp_path, search=SEARCH.format(sampler=sampler))
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    with (tmp_path / "out" / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = {row["trial"]: (float(row["validation_loss"]), float(row["validation_accuracy"])) for row in rows}
    wanted = {
        number
        for number, (loss, accuracy) in scores.items()
        if not any(a <= loss and b <= accuracy and (a, b) != (loss, accuracy) for a, b in scores.values())
    }
    assert {row["trial"] for row in rows if row["front"] == "yes"} == wanted and len(wanted) > 1
    files = sorted((tmp_path / "out" / "front").glob("*.toml"))
    assert {str(int(file.stem.removeprefix("trial="))) for file in files} == wanted
    first = min(scores, key=lambda number: scores[number])
    assert f"number {first}," in said and "on the front of loss, accuracy: trials " in said
    assert main(["train", str(files[0]), "--out", str(tmp_path / "again")]) == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert f"The front: {len(wanted)} trials" in page and f"<title>trial {first}, finished" in page


def test_what_diverged_is_on_no_front(tmp_path):
    space = '"optimizer.lr.learning_rate" = { use = "choice", values = [1e-2, 1e38] }'
    search = 'sampler = "grid"\nfresh = 0\nobjective = ["loss", "accuracy"]'
    found = small_studies.searched(tmp_path, search=search, space=space)
    assert [trial.state for trial in found.trials()] == ["finished", "diverged"]
    assert found.objective == Objective("loss", 1, (Objective("accuracy", -1),))
    assert [trial.number for trial in front(found.trials(), found.objective)] == [0] and found.winner.number == 0


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"objective": ["loss", "loss"]}, "two or more that differ"),
        ({"objective": ["loss"]}, "two or more that differ"),
        ({"objective": ["loss", "accuracy"], "direction": "minimize"}, "search.direction is that of one objective"),
        ({"objective": ["loss", "accuracy"], "pruner": "median"}, "leave out search.pruner"),
        ({"objective": ["loss", "accuracy"], "sampler": "population"}, "'population' takes one objective"),
        ({"objective": ["loss", "accuracy"], "sampler": "cma_es"}, "'cma_es' takes one objective"),
        ({"objective": ["loss", {"nam": "accuracy"}]}, "did you mean 'name'"),
    ],
)
def test_what_several_objectives_do_not_go_with_is_an_error(search, message):
    with pytest.raises(pydantic.ValidationError, match=message):
        Search.model_validate({"trials": 4} | search)


def test_an_objective_that_is_none_is_an_error(tmp_path, capsys):
    path = small_studies.written(tmp_path, search='trials = 1\nobjective = ["loss", "acuracy"]')
    assert main(["tune", str(path), "--out", str(tmp_path / "out")]) == 2
    assert "search.objective: got 'acuracy'; did you mean 'accuracy'" in capsys.readouterr().err
