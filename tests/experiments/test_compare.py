"""Comparisons: their trials, what they amount to, and that they can be stopped at any moment."""

import csv
import json
import math
import signal
import time

import numpy as np
import pytest
import small_runs
from scipy import stats

from experiments import compare, config
from experiments.__main__ import main
from experiments.comparison_report import rows_of, warnings_of
from experiments.experiment import build
from experiments.intervals import interval
from experiments.run import Run, create
from experiments.standings import standings
from experiments.tables import Comparison
from experiments.train import Trainer

FILE = """
seeds = 2

[task]
use = "circles"
validation = 200
test = 200

[model]
hidden = [10]

[train]
steps = 40
batch = 32
evaluate_every = 20

[optimizers.adam]
grid."lr.start" = [1e-4, 1e-2]

[optimizers.adam.chain]
adam = { use = "scale_by_adam" }
lr = { use = "cosine", start = 0.0, steps = 40 }
average = { use = "average_params", decay = 0.9 }

[optimizers.sgd]
grid.learning_rate = [0.3, 1e30]
chain = { use = "sgd", learning_rate = 0.0, momentum = 0.9 }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a comparison that has been run, and its trials."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "comparison.toml").write_text(FILE)
    assert main(["compare", str(folder / "comparison.toml"), "--out", str(folder / "out")]) == 0
    return folder / "out", rows(folder / "out")


def results(out):
    """What the ended trials left; not by walking, for a running one renames its checkpoints' folders."""
    return sorted(out.glob("trials/*/*/result.json"))


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def again(folder, comparison):
    """The trials, of which none is run that has been run."""
    built = compare.build_all(comparison, "comparison.toml")
    return list(compare.trials(comparison, built, folder, "the command"))


def test_each_is_tuned_and_its_best_point_run_with_fresh_seeds(compared):
    _, found = compared
    assert [(row["optimizer"], row["purpose"], row["seed"]) for row in found] == [
        (name, *run) for name in ("adam", "sgd") for run in [("tuning", "0")] * 2 + [("fresh", "1"), ("fresh", "2")]
    ]
    for name in ("adam", "sgd"):
        tuned = [row for row in found if row["optimizer"] == name and row["purpose"] == "tuning"]
        fresh = [row for row in found if row["optimizer"] == name and row["purpose"] == "fresh"]
        best = min((row for row in tuned if row["ending"] == "finished"), key=lambda row: float(row["validation_loss"]))
        assert {row["point"] for row in fresh} == {best["point"]}
        assert all(row["test_loss"] == "nan" for row in tuned)
        assert all(math.isfinite(float(row["test_loss"])) for row in fresh)
        assert len({row["validation_loss"] for row in fresh}) == 2
    assert [row["ending"] for row in found if row["point"] == "learning_rate=1e+30"] == ["diverged"]


def test_all_trials_of_an_optimizer_share_what_is_compiled(compared):
    _, found = compared
    for name in ("adam", "sgd"):
        seconds = [float(row["compiling_seconds"]) for row in found if row["optimizer"] == name]
        assert seconds[0] > 0.05 and max(seconds[1:]) < 0.01


def test_a_trial_is_what_train_makes_of_its_configuration(compared, tmp_path):
    """The number that is varied is an argument there and a constant here, which may round otherwise."""
    folder, _ = compared
    trial = Run(folder / "trials" / "adam" / "lr.start=0.01,seed=2")
    resolved = config.load(trial.folder / "config.json")
    assert resolved.optimizer["lr"]["start"] == 0.01 and resolved.train.seed == 2
    alone = Trainer(build(resolved, "config.json"), create(tmp_path / "run", resolved, "", overwrite=False))
    assert alone.train() is None
    expected = alone.result()["scores"]
    assert trial.result["scores"].keys() == {"validation", "test"}
    for split, by_model in trial.result["scores"].items():
        for model, scores in by_model.items():
            assert scores == pytest.approx(expected[split][model], rel=1e-5), (split, model)


def test_the_report_shows_standings_curves_and_commands(compared):
    folder, _ = compared
    page = (folder / "report.html").read_text()
    assert page.count("<svg") == 4 and "<script" not in page and "src=" not in page
    assert f"python -m experiments compare {folder.parent / 'comparison.toml'}" in page
    assert "learning_rate = 0.3 is the least value tried" in page


def test_a_wider_grid_reuses_the_trials_that_have_been_run(compared, file, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["compare", str(file), "--out", str(out)]) == 0
    before = {path: path.stat().st_mtime_ns for path in results(out)}
    sets = ('optimizers.adam.grid={"lr.start"=[1e-2,1e-4,1e-1]}', "optimizers.sgd.grid={learning_rate=[0.3,1e30,0.1]}")
    assert main(["compare", str(file), "--out", str(out), *(part for x in sets for part in ("--set", x))]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert len(rows(out)) == 10 == len({row["folder"] for row in rows(out)})
    capsys.readouterr()
    assert main(["compare", str(file), "--out", str(out), "--set", "train.batch=16"]) == 2
    assert "train.batch: 32 -> 16" in capsys.readouterr().err


def test_killed_and_run_again_nothing_is_lost_or_run_twice(compared, file, tmp_path):
    out = tmp_path / "out"
    process = small_runs.start("compare", file, "--out", out)
    while len(results(out)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = {path: path.stat().st_mtime_ns for path in results(out)}
    assert len(ended) < 8
    assert main(["compare", str(file), "--out", str(out)]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in ended.items())
    columns = ("optimizer", "point", "seed", "ending", "validation_loss", "test_loss")
    assert [[row[c] for c in columns] for row in rows(out)] == [[row[c] for c in columns] for row in compared[1]]


def test_standings(compared):
    folder, found = compared
    comparison = Comparison.model_validate(json.loads((folder / "comparison.json").read_text()))
    trials = again(folder, comparison)
    ranked = standings(trials, comparison.optimizers)
    means = {
        name: np.mean(
            [float(r["validation_loss"]) for r in found if r["optimizer"] == name and r["purpose"] == "fresh"]
        )
        for name in ("adam", "sgd")
    }
    assert [one.name for one in ranked] == sorted(means, key=means.get)
    first, second = ranked
    assert first.loss("validation").mean == pytest.approx(means[first.name])
    assert second.behind(first, "validation").mean == pytest.approx(means[second.name] - means[first.name])
    assert any("learning_rate = 0.3 is the least value tried" in line for line in warnings_of(ranked))
    adam = next(one for one in ranked if one.name == "adam")
    accuracies = [trial.run.result["scores"]["test"]["average"]["accuracy"] for trial in adam.fresh]
    assert rows_of([adam])[0]["test accuracy"].startswith(f"{np.mean(accuracies):.4f} ±")
    # An optimizer of which nothing is left stands last and says so.
    lost = [trial for trial in trials if trial.diverged or trial.optimizer == "adam"]
    ranked = standings(lost, comparison.optimizers)
    assert [one.name for one in ranked] == ["adam", "sgd"] and math.isnan(ranked[1].loss("test").mean)
    assert warnings_of(ranked)[-1] == "sgd: every point of its grid diverged; extend it downwards"


def test_the_interval_is_students():
    values = [1.0, 1.5, 0.7, 2.2]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = interval(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert interval([1.0]).mean == 1 and math.isnan(interval([1.0]).half) and math.isnan(interval([]).mean)


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['optimizers.adam.grid={"lr.start"=[1e-2]}'], "every optimizer is tuned by as many runs"),
        (
            ['optimizers.adam.grid={"rate.start"=[1e-2,1e-3]}'],
            "the chain has no table 'rate'; it has adam, lr",
        ),
        (['optimizers.adam.grid={"lr.start"=[1e-2,1e-2]}'], "wanted one value or several that differ"),
        (['optimizers.adam.grid={"lr.stat"=[1e-2,1e-1]}'], "optimizers.adam: optimizer.lr.stat: cosine has no such"),
        (["optimizers.adam.gird=1"], "unknown key; did you mean 'grid'"),
        (["optimizers.Adam.grid=1"], "Adam"),
        (["task.validation=0"], "wanted a task.validation of at least 1"),
        (["seeds=1"], "greater than or equal to 2"),
    ],
)
def test_what_does_not_fit_is_named_before_anything_runs(file, tmp_path, capsys, sets, message):
    arguments = [part for text in sets for part in ("--set", text)]
    assert main(["compare", str(file), "--out", str(tmp_path / "out"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert not results(tmp_path / "out")


def test_a_folder_of_something_else_is_left_alone(file, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    assert main(["compare", str(file), "--out", str(tmp_path / "out"), "--overwrite"]) == 2
    assert "is no comparison of ours" in capsys.readouterr().err
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
