"""Comparisons: their studies, what they amount to, and that they can be stopped at any moment."""

import csv
import dataclasses
import itertools
import math
import re
import signal
import time
from html import unescape

import numpy as np
import pytest
import small_runs
from scipy import stats
from tiers import one_of_each

from optchain.lab.base.intervals import Interval, interval
from optchain.lab.commands.main import main
from optchain.lab.comparison import compare
from optchain.lab.comparison.paired import holm, paired
from optchain.lab.comparison.report import lines_of, rows_of, warnings_of
from optchain.lab.comparison.standings import standings, target_of
from optchain.lab.comparison.tables import Comparison
from optchain.lab.runs import config
from optchain.lab.runs.run import Run, create
from optchain.lab.training.experiment import build
from optchain.lab.training.train import Trainer
from optchain.lab.tuning.claim import seed_of
from optchain.lab.tuning.outcome import Fresh

FILE = """
[search]
trials = 2
fresh = 3

[task]
use = "experiments.tasks.circles:circles"
validation = 200
test = 200

[model]
hidden = [10]

[train]
steps = 40
batch = 32
evaluate_every = 20
checkpoint_every = 40

[optimizers.adam]
space."lr.start" = { use = "log", low = 1e-4, high = 1e-2 }
default = true

[optimizers.adam.chain]
adam = { use = "scale_by_adam" }
lr = { use = "cosine", start = 1e-3, steps = 40 }
average = { use = "average_params", decay = 0.9 }

[optimizers.sgd]
space.learning_rate = { use = "log", low = 1e-18, high = 1e15 }
chain = { use = "sgd", learning_rate = 0.0, momentum = 0.9 }
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "comparison.toml"
    path.write_text(FILE)
    return path


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    """The folder of a comparison that has been run, and its table."""
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "comparison.toml").write_text(FILE)
    assert main(["compare", str(folder / "comparison.toml"), "--out", str(folder / "out")]) == 0
    return folder / "out", rows(folder / "out")


def results(out):
    """What the ended runs left; not by walking, for a running one renames its checkpoints' folders."""
    return sorted([*out.glob("studies/*/trials/*/*/result.json"), *out.glob("studies/*/fresh/*/result.json")])


def rows(folder):
    with (folder / "trials.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def of(found, optimizer, purpose):
    return [row for row in found if row["optimizer"] == optimizer and row["purpose"] == purpose]


def page_of(folder):
    return unescape((folder / "report.html").read_text())


def test_all_have_as_many_trials_and_the_same_seeds(compared):
    folder, found = compared
    seeds = {row["seed"] for row in of(found, "adam", "fresh")}
    assert len(seeds) == 3
    for name in ("adam", "sgd"):
        assert len(of(found, name, "tuning")) == 2
        assert {row["seed"] for row in of(found, name, "fresh")} == seeds
        tuned = sorted(path.name for path in (folder / "studies" / name / "trials").glob("*/*/"))
        assert tuned == sorted(f"seed={seed_of(0, number, 0)}" for number in (0, 1))  # of the n-th trial, for all
        assert not {name.removeprefix("seed=") for name in tuned} & seeds
    assert {row["seed"] for row in of(found, "adam", "default")} == seeds and not of(found, "sgd", "default")


@pytest.mark.full
@pytest.mark.parametrize("parallel", one_of_each(["vmap", "processes"], rest=pytest.mark.slow))
def test_a_comparison_in_processes_or_lanes_finds_the_same(compared, file, tmp_path, parallel):
    _, wanted = compared
    assert main(["compare", str(file), "--out", str(tmp_path / "out"), "--set", f"search.parallel={parallel}"]) == 0
    found = rows(tmp_path / "out")
    assert [[row[key] for key in ("optimizer", "purpose", "trial", "seed", "state", "steps")] for row in found] == [
        [row[key] for key in ("optimizer", "purpose", "trial", "seed", "state", "steps")] for row in wanted
    ]
    losses = [[float(row["validation_loss"] or "nan") for row in one] for one in (found, wanted)]
    np.testing.assert_allclose(*losses, rtol=1e-4)


def test_the_best_point_runs_anew_and_only_that_sees_the_test_examples(compared):
    folder, found = compared
    for name, key in (("adam", "lr.start"), ("sgd", "learning_rate")):
        finished = [row for row in of(found, name, "tuning") if row["state"] == "finished"]
        best = min(finished, key=lambda row: float(row["validation_loss"]))
        assert {row[key] for row in of(found, name, "fresh")} == {best[key]}
        assert all(row["test_loss"] == "" for row in of(found, name, "tuning"))
        assert len({row["test_loss"] for row in of(found, name, "fresh")}) == 3
    for path in folder.glob("studies/*/trials/*/*/"):
        assert "test" not in Run(path).result["scores"]
    assert {row["state"] for row in of(found, "sgd", "tuning")} == {"finished", "diverged"}


def test_all_runs_of_an_optimizer_share_what_is_compiled(compared):
    _, found = compared
    for name in ("adam", "sgd"):
        seconds = [float(row["compiling_seconds"]) for row in found if row["optimizer"] == name]
        first, second, fresh, *others = seconds  # the first fresh run compiles how the other splits are scored
        assert max(second, fresh, *others) < first and max(second, *others) < 0.3 * first


def test_a_fresh_run_is_what_train_makes_of_its_configuration(compared, tmp_path):
    """The number that is varied is an argument there and a constant here, which may round otherwise."""
    folder, found = compared
    fresh = Run(next(folder.glob("studies/adam/fresh/trial=*/")))
    resolved = config.load(fresh.folder / "config.json")
    assert str(resolved.train.seed) in {row["seed"] for row in of(found, "adam", "fresh")}
    alone = Trainer(build(resolved, "config.json"), create(tmp_path / "run", resolved, "", overwrite=False))
    assert alone.train() is None
    for split, by_model in alone.result()["scores"].items():
        for model, scores in by_model.items():
            assert fresh.result["scores"][split][model] == pytest.approx(scores, rel=1e-5), (split, model)


@pytest.mark.full
def test_the_report_shows_standings_costs_curves_and_commands(compared):
    folder, _ = compared
    page = page_of(folder)
    assert page.count("<svg") == 6 and "<script" not in page and "src=" not in page
    assert f"optchain compare {folder.parent / 'comparison.toml'}" in page
    assert "adam, as written" in page and "on the same seeds" in page and "cores" in page
    for name in ("adam", "sgd"):
        assert f'href="studies/{name}/report.html"' in page and (folder / "studies" / name / "report.html").is_file()
    # Written anew from the folder alone, it says the same.
    assert main(["report", str(folder)]) == 0
    assert page_of(folder) == page


def test_standings(compared):
    folder, found = compared
    comparison, tunings = compare.reopened(folder)
    ranked = standings(tunings)
    losses = {
        name: {row["seed"]: float(row["validation_loss"]) for row in of(found, name, "fresh")}
        for name in ("adam", "sgd")
    }
    means = {name: np.mean(list(found.values())) for name, found in losses.items()}
    assert [one.name for one in ranked] == sorted(means, key=means.get)
    first, second = ranked
    assert first.result.mean == pytest.approx(means[first.name])
    differences = [losses[second.name][seed] - losses[first.name][seed] for seed in losses["adam"]]
    behind = second.behind(first)
    assert behind.difference.mean == pytest.approx(np.mean(differences))
    verdict = rows_of(ranked)[1]["against the first"]
    assert verdict == ("worse" if behind.t < 0.05 else "not told apart")
    assert behind.t == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    row = next(row for row in rows_of(ranked) if row["optimizer"] == "adam")
    accuracies = [one.scores("test")["accuracy"] for one in next(s for s in ranked if s.name == "adam").outcome.fresh]
    assert row["test accuracy"].startswith(f"{np.mean(accuracies):.4f} ±")
    written = next(row for row in rows_of(ranked) if row["optimizer"] == "adam, as written")
    default = [float(row["validation_loss"]) for row in of(found, "adam", "default")]
    assert written["validation loss"] == str(interval(default))
    assert any("3 fresh seeds; 5 or more" in line for line in warnings_of(ranked))
    assert target_of(ranked, None) == second.result.mean and target_of(ranked, 0.5) == 0.5
    assert "compiling" in "\n".join(lines_of(ranked, comparison))
    # An optimizer of which no trial finished stands last and says so.
    lost = dataclasses.replace(
        first, outcome=dataclasses.replace(first.outcome, trials=[], winner=None, fresh=[], edges=[]), default=[]
    )
    assert any("no trial finished" in line for line in warnings_of([second, lost]))
    assert rows_of([second, lost])[1]["best point"] == "none" and math.isnan(lost.reaching(1.0, "step"))


def test_time_to_target_counts_a_run_that_never_gets_there_as_infinite(compared):
    _, tunings = compare.reopened(compared[0])
    one = standings({"adam": tunings["adam"]})[0]
    curves = [
        [(row["step"], one.objective.of_row(row)) for row in run.evaluations] for run in one.outcome.fresh
    ]  # fmt: skip
    assert all(len(curve) == 2 for curve in curves)
    middle = sorted(curve[-1][1] for curve in curves)[1]
    firsts = [next((step for step, loss in curve if loss <= middle), math.inf) for curve in curves]
    assert one.reaching(middle, "step") == np.median(firsts) < math.inf
    assert one.reaching(0.0, "step") == math.inf and one.reaching(1e9, "step") == 20


def test_a_tuned_adam_that_loses_to_sgd_is_doubted(compared):
    """Both are given losses; only how they stand to each other decides."""
    _, tunings = compare.reopened(compared[0])
    ranked = {one.name: one for one in standings(tunings)}

    def having(name, losses):
        scores = [{"validation": {"parameters": {"loss": x, "accuracy": 0.5}}} for x in losses]
        fresh = [
            _Known(seed, Run(compared[0]), {"ending": "finished", "scores": found}) for seed, found in enumerate(scores)
        ]
        return dataclasses.replace(ranked[name], outcome=dataclasses.replace(ranked[name].outcome, fresh=fresh))

    def doubted(adam, sgd):
        return any("a tuned Adam" in line for line in warnings_of([having("adam", adam), having("sgd", sgd)]))

    assert doubted([0.5, 0.6, 0.7], [0.1, 0.21, 0.29])
    assert not doubted([0.1, 0.2, 0.3], [0.5, 0.6, 0.71])
    assert not doubted([0.5, 0.6, 0.1], [0.1, 0.2, 0.6])  # within what chance does


@dataclasses.dataclass(frozen=True)
class _Known(Fresh):
    known: dict

    @property
    def result(self):
        return self.known


def test_the_interval_of_what_is_not_a_number_is_none():
    assert str(interval([np.nan, np.nan])) == "-" and np.isnan(interval([1.0, np.nan]).mean)
    assert np.isinf(interval([1.0, np.inf]).mean)


def test_the_interval_is_students():
    values = [1.0, 1.5, 0.7, 2.2]
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    found = interval(values)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert interval([1.0]).mean == 1 and math.isnan(interval([1.0]).half) and math.isnan(interval([]).mean)


def test_paired_tests():
    differences = [0.3, 0.1, 0.25, -0.05, 0.2]
    found = paired(differences)
    assert found.t == pytest.approx(stats.ttest_1samp(differences, 0).pvalue)
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in itertools.product([1, -1], repeat=5)
    ]
    assert found.flips == pytest.approx(np.mean([abs(x) >= sum(differences) - 1e-12 for x in sums]))
    assert paired([0.1] * 5).flips == pytest.approx(2 / 32)
    assert paired([0.0, 0.0]).t == 1 and math.isnan(paired([0.2]).t) and math.isnan(paired([0.1, 0.2] * 9).flips)
    assert paired([]).difference.mean != paired([]).difference.mean and isinstance(found.difference, Interval)


def test_holm_corrects_the_least_most():
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    corrected = holm([math.nan, 0.6, 0.01])
    assert math.isnan(corrected[0]) and corrected[1:] == pytest.approx([0.6, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.full
def test_a_larger_budget_reuses_the_trials_that_have_been_run(file, tmp_path, capsys):
    out = tmp_path / "out"
    few = ("--set", "train.steps=20", "--set", "search.fresh=2", "--set", "optimizers.adam.default=false")
    assert main(["compare", str(file), "--out", str(out), *few]) == 0
    before = {path: path.stat().st_mtime_ns for path in results(out)}
    assert main(["compare", str(file), "--out", str(out), *few, "--set", "search.trials=3"]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in before.items())
    assert len([row for row in rows(out) if row["purpose"] == "tuning"]) == 6
    capsys.readouterr()
    assert main(["compare", str(file), "--out", str(out), *few, "--set", "train.batch=16"]) == 2
    assert "train.batch: 32 -> 16" in capsys.readouterr().err


@pytest.mark.full
def test_killed_and_run_again_nothing_is_lost_or_run_twice(compared, file, tmp_path):
    out = tmp_path / "out"
    process = small_runs.start("compare", file, "--out", out)
    while len(results(out)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    ended = {path: path.stat().st_mtime_ns for path in results(out)}
    assert len(ended) < 13
    assert main(["compare", str(file), "--out", str(out)]) == 0
    assert all(path.stat().st_mtime_ns == at for path, at in ended.items())
    columns = ("optimizer", "purpose", "seed", "state", "validation_loss", "test_loss")
    assert [[row[c] for c in columns] for row in rows(out)] == [[row[c] for c in columns] for row in compared[1]]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        (['search={sampler="grid"}'], "space.'lr.start': a grid needs points"),
        (
            [
                'search={sampler="grid"}',
                'optimizers.adam.space={"lr.start"={use="log",low=1e-3,high=1.0,points=3}}',
                "optimizers.sgd.space={learning_rate={use='choice',values=[0.1,0.3]}}",
            ],
            "as many trials; the grids have adam 3, sgd 2 points",
        ),
        (
            ['optimizers.adam.space={"rate.start"={use="log",low=1e-3,high=1.0}}'],
            "the chain has no table 'rate'; it has adam, lr",
        ),
        (
            ['optimizers.adam.space={"lr.stat"={use="log",low=1e-3,high=1.0}}'],
            "optimizers.adam: space.'lr.stat' = 0.001: optimizer.lr.stat: cosine has no such",
        ),
        (['optimizers.adam.space={"lr.start"={use="log",lo=1e-3,high=1.0}}'], "start.lo: unknown key; did you mean"),
        (["optimizers.adam.spice=1"], "unknown key; did you mean 'space'"),
        (["optimizers.Adam.space=1"], "Adam"),
        (["task.validation=0"], "expected a task.validation of at least 1"),
        (["search.fresh=1"], "greater than or equal to 2"),
        (["search.sampler=gird"], "got 'gird'; did you mean 'grid'"),
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


def test_quasi_random_is_what_comparisons_search_by(file):
    comparison = config.load(file, table=Comparison)
    study = comparison.study("adam")
    assert study.search.sampler == "quasi_random" and study.space["lr.start"].path == "optimizer.lr.start"
    assert re.fullmatch(r"\d+", str(seed_of(study.search.seed, 0, 0)))
