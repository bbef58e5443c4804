"""Performance profiles over several comparisons."""

import math

import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.comparison import compare
from optchain.lab.comparison.charts import styles
from optchain.lab.comparison.profiles import _chart, profile, write
from optchain.lab.comparison.tables import Comparison
from optchain.lab.reports.charts import COLORS
from optchain.lab.runs import config
from optchain.lab.runs.logs import Logs
from optchain.lab.tuning.claim import run_folder

FILE = """
target = 0.5
[search]
trials = 1
fresh = 2
[task]
use = "experiments.tasks.circles:circles"
validation = 200
[model]
hidden = [4]
[train]
steps = 40
batch = 32
evaluate_every = 20
[optimizers.adam]
space.learning_rate = { use = "log", low = 1e-3, high = 1.0 }
chain = { use = "adam", learning_rate = 0.1 }
[optimizers.sgd]
space.learning_rate = { use = "log", low = 1e-3, high = 1.0 }
chain = { use = "sgd", learning_rate = 0.1 }
"""


def test_a_profile_is_the_share_within_a_factor_of_the_best():
    costs = {
        "a": {"adam": 10.0, "sgd": 20.0, "lion": math.inf},
        "b": {"adam": 30.0, "sgd": 15.0, "lion": 15.0},
        "c": {"adam": 10.0, "sgd": math.inf, "lion": math.nan},
        "d": {"adam": math.inf, "sgd": math.inf, "lion": math.inf},  # too hard for all: within no factor
    }
    found = profile(costs, ["adam", "sgd", "lion"])
    assert [found["adam"](x) for x in (1.0, 1.99, 2.0)] == [0.5, 0.5, 0.75]
    assert [found["sgd"](x) for x in (1.0, 1.99, 2.0, 1e9)] == [0.25, 0.25, 0.5, 0.5]
    assert found["lion"](math.inf) == 0.25


def test_an_optimizer_has_the_same_color_in_every_report():
    """That of its place in the configuration, wherever it stands in a profile."""
    svg = _chart("steps", {"a": {"sgd": 10.0, "adam": 20.0}}, ["sgd", "adam"], styles(["adam", "sgd"]))
    assert svg.index(COLORS[1]) < svg.index(COLORS[0])


@pytest.fixture
def folders(tmp_path):
    """Two comparisons whose runs are not trained but told: Adam is first on one task, SGD on the other."""
    (tmp_path / "c.toml").write_text(FILE)
    comparison = config.load(tmp_path / "c.toml", table=Comparison)
    for task, first in (("one", "adam"), ("two", "sgd")):
        folder = tmp_path / task
        tunings = compare.studies(comparison, folder, "c.toml", "the command")
        compare.prepare(folder, comparison, tunings, "the command", overwrite=False)
        for name, tuning in tunings.items():
            with tuning.claims.next() as claim:
                run_folder(claim.folder, claim.configs()[0]).mkdir()
                claim.ended(_result(0.4))
            for seed in tuning.fresh_seeds:
                run = tuning.fresh_run(f"trial={tuning.winner.number}", seed)
                run.folder.mkdir(parents=True)
                run.write("result.json", _result(0.4))
                logs = Logs(run.folder, 1)
                for step in (20, 40):
                    loss = 0.4 if step == 40 or name == first else 0.6
                    logs.evaluation({"step": step, "seconds": step / 10, "validation_loss": loss})
    return tmp_path / "one", tmp_path / "two"


def _result(loss):
    scores = {"validation": {"parameters": {"loss": loss, "accuracy": 0.5}}}
    return {"ending": "finished", "step": 40, "scores": scores, "seconds": {"compiling": 0.1, "training": 4.0}}


@pytest.mark.full
def test_the_report_of_several_comparisons_is_their_profile(folders, tmp_path, capsys):
    out = tmp_path / "profile.html"
    assert main(["report", *map(str, folders), "--out", str(out)]) == 0
    printed, page = capsys.readouterr().out, out.read_text()
    assert printed.count("the fewest steps on 50 % of the tasks") == 2
    assert page.count("<svg") == 2 and "circles: one" in page and "circles: two" in page
    assert main(["report", *map(str, folders)]) == 2 and "expected --out" in capsys.readouterr().err
    assert main(["report", str(folders[0]), "--out", str(out)]) == 2
    assert "name several comparisons" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert main(["report", str(folders[0]), str(tmp_path / "empty"), "--out", str(out)]) == 2
    assert "holds no comparison" in capsys.readouterr().err


def test_a_profile_takes_two_optimizers_that_are_in_all(folders, tmp_path):
    path = folders[0] / "comparison.json"
    path.write_text(path.read_text().replace('"sgd": {', '"lion": {'))
    with pytest.raises(InputError, match="in all comparisons; expected two or more"):
        write(folders, tmp_path / "profile.html")
