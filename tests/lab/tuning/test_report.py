"""The report of a study: its statistics, and that every kind of trial is found on the page."""

import dataclasses
import itertools
import math
import re
import tomllib
from html import unescape

import numpy as np
import optuna
import pytest
from scipy import stats

from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.logs import Logs
from optchain.lab.tuning.best_so_far import best_so_far, expected_least, least_interval
from optchain.lab.tuning.claim import run_folder
from optchain.lab.tuning.dimensions import Choice
from optchain.lab.tuning.importance import importances
from optchain.lab.tuning.outcome import outcome
from optchain.lab.tuning.report import lines_of, write
from optchain.lab.tuning.space import edge
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import Tuning, reopened

FILE = """
[search]
sampler = "quasi_random"
trials = 20
fresh = 2

[space]
"optimizer.learning_rate" = { use = "log", low = 1e-4, high = 1.0 }
"optimizer.b2" = { use = "choice", values = [0.9, 0.99] }

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

[optimizer]
use = "adam"
learning_rate = 0.01
"""
SECONDS = {"compiling": 0.5, "training": 2.0}


@pytest.fixture
def tuning(tmp_path):
    """A study in which nothing has been run yet."""
    return begun(tmp_path)


def begun(folder, *sets):
    (folder / "study.toml").write_text(FILE)
    study = config.load(folder / "study.toml", list(sets), Study)
    tuning = Tuning(study, folder / "out", "study.toml", "optchain tune study.toml")
    tuning.prepare(overwrite=False)
    return tuning


def result(ending, loss=math.nan, step=40, splits=("validation",)):
    scores = {split: {"parameters": {"loss": loss, "accuracy": 1 - loss}} for split in splits}
    return {"ending": ending, "step": step, "scores": scores if ending == "finished" else {}, "seconds": SECONDS}


def play(tuning, ending, loss=math.nan, step=40):
    """Let the next trial end like this, without training anything."""
    with tuning.claims.next() as claim:
        run = run_folder(claim.folder, claim.configs()[0])
        run.mkdir(parents=True)
        logs = Logs(run, 1)
        for at in range(20, step + 1, 20):
            logs.evaluation({"step": at, "validation_loss": loss + 40 - at, "validation_accuracy": 1 - loss})
        if ending == "infeasible":
            claim.infeasible("the values quarrel")
        else:
            claim.ended(result(ending, loss, step))
        return claim


def freshen(tuning, losses):
    """Give the best trial runs with fresh seeds that ended like this."""
    number = outcome(tuning).winner.number
    for seed, loss in zip(tuning.fresh_seeds, losses, strict=True):
        run = tuning.fresh_run(f"trial={number}", seed)
        run.folder.mkdir(parents=True)
        run.write("result.json", result("diverged" if math.isnan(loss) else "finished", loss, 40,
                                        ("train", "validation", "test")))  # fmt: skip


def page_of(tuning):
    write(tuning)
    return unescape((tuning.folder / "report.html").read_text())


def text_of(page):
    """A page without its tags and charts."""
    page = re.sub(r"<(svg|style).*?</\1>|<wbr>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", page).replace("&nbsp;", " "))


def test_the_expected_best_is_the_mean_over_all_draws():
    values = np.random.default_rng(0).normal(size=7)
    brute = [np.mean([min(draw) for draw in itertools.combinations(values, n)]) for n in range(1, 8)]
    assert expected_least(values) == pytest.approx(brute, abs=1e-14)
    assert expected_least(np.array([3.0])) == [3.0]
    many = expected_least(np.arange(3000.0))  # whose binomial coefficients no float holds
    assert np.isfinite(many).all() and many[-1] == 0 and many[999] == pytest.approx(2000 / 1001)


def test_the_interval_is_a_percentile_bootstrap():
    values = np.random.default_rng(1).normal(size=30)
    low, high = least_interval(values, seed=0)
    expected = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=4000, rng=0).confidence_interval
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=0.08)
    assert low[-1] == values.min() and np.all(low <= expected_least(values)) and np.all(np.diff(high) <= 0)


@pytest.mark.parametrize("objective", ["loss", "metric"])
def test_best_so_far_counts_what_did_not_finish_as_the_worst(tmp_path, objective):
    tuning = begun(tmp_path, f"search.objective={objective}")
    for ending, loss in (("finished", 0.6), ("diverged", math.nan), ("finished", 0.2), ("pruned", 0.5)):
        play(tuning, ending, loss)
    play(tuning, "infeasible")
    curve = best_so_far(tuning.trials(), tuning.study.search, tuning.objective.sign)
    least = [np.mean([min(d) for d in itertools.combinations([0.6, 0.6, 0.2, 0.6], n)]) for n in range(1, 5)]
    assert curve.score == pytest.approx(least if objective == "loss" else 1 - np.array(least))
    assert np.all(curve.low <= curve.score + 1e-12) and np.all(curve.score <= curve.high + 1e-12)
    assert curve.seconds == pytest.approx([2.5, 5, 7.5, 10])


def test_an_adaptive_search_has_the_best_that_was_observed(tmp_path):
    tuning = begun(tmp_path, "search.sampler=tpe")
    assert best_so_far(tuning.trials(), tuning.study.search, 1) is None
    for loss in (0.6, 0.2, 0.4):
        play(tuning, "finished", loss)
    curve = best_so_far(tuning.trials(), tuning.study.search, 1)
    assert list(curve.score) == [0.6, 0.2, 0.2] and np.isnan(curve.low).all()
    assert "As observed" in page_of(tuning)


def test_importance_finds_the_dimension_that_matters(tuning):
    for _ in range(11):
        play(tuning, "finished", 0.5)
    study = tuning.claims.optuna_study
    assert importances(study, tuning.trials()) == (
        "importance takes at least 12 trials, finished or pruned; there are 11 finished"
    )
    play(tuning, "finished", 0.5)
    assert importances(study, tuning.trials()) == "all trials have the same score"
    other = optuna.create_study()
    space = study.get_trials()[0].distributions
    for i in range(16):
        params = {"optimizer.learning_rate": 10.0 ** -(i // 4), "optimizer.b2": (0.9, 0.99)[i % 2]}
        other.add_trial(optuna.create_trial(params=params, distributions=space, value=0.5 if i < 12 else 0.1 * (i % 2)))
    other.add_trial(optuna.create_trial(params=params, distributions=space, value=math.inf))  # a diverged one
    found = [dataclasses.replace(tuning.trials()[0], number=i) for i in range(16)]
    shares = importances(other, found)
    assert max(shares, key=shares.get) == "optimizer.learning_rate" and sum(shares.values()) == pytest.approx(1)


def test_importance_counts_pruned_trials(tuning):
    """As one that has its last score, or that of the worst finished one where this is better."""
    for _ in range(4):
        play(tuning, "finished", 0.5)
    space = tuning.claims.optuna_study.get_trials()[0].distributions
    other = optuna.create_study()
    for i in range(16):
        params = {"optimizer.learning_rate": 10.0 ** -(i // 4), "optimizer.b2": (0.9, 0.99)[i % 2]}
        last = {"value": 0.1 + 0.1 * (i % 2)} if i < 4 else {"intermediate_values": {1: 50.0, 2: 40.0}}
        state = optuna.trial.TrialState.COMPLETE if i < 4 else optuna.trial.TrialState.PRUNED
        other.add_trial(optuna.create_trial(params=params, distributions=space, state=state, **last))
    state = {True: "finished", False: "pruned"}
    found = [dataclasses.replace(tuning.trials()[0], number=i, state=state[i < 4]) for i in range(16)]
    shares = importances(other, found)
    assert set(shares) == {"optimizer.learning_rate", "optimizer.b2"} and sum(shares.values()) == pytest.approx(1)
    assert shares["optimizer.learning_rate"] > 0.2  # only the first decade finished; of the finished alone it has none
    few = [trial for trial in found if trial.number < 10]
    assert importances(other, few).endswith("there are 4 finished and 6 pruned ones")
    assert importances(other, found[4:]).endswith("there are 0 finished and 12 pruned ones")


def test_the_page_tells_every_kind_of_trial(tuning):
    play(tuning, "finished", 0.61)
    play(tuning, "finished", 0.2345)
    play(tuning, "diverged", 3.0, step=20)
    play(tuning, "pruned", 0.9, step=20)
    play(tuning, "infeasible", 0.5)
    freshen(tuning, [0.3, 0.4])
    held = tuning.claims.next()
    with held:  # one is running
        page = page_of(tuning)
    text = text_of(page)
    assert "2 finished, 1 pruned, 1 diverged, 1 infeasible, 1 running" in text
    assert "number 1" in text and "0.2345 best validation loss in the search, too good" in text
    half = stats.t.ppf(0.975, 1) * np.std([0.3, 0.4], ddof=1) / math.sqrt(2)
    assert text.count(f"mean of 2 fresh seeds {0.35:.4f} ± {half:.4f}") == 2  # validation and test
    tiles = [f"{0.35:.4f} ± {half:.4f} {split} loss, 2 fresh seeds" for split in ("test", "validation")]
    assert 0 < text.index(tiles[0]) < text.index(tiles[1]) < text.index("0.2345 best validation loss")
    # The y axes of the curves and of both slices; matplotlib writes each text into a comment.
    assert page.count("<!-- validation loss -->") == 2 + 2 + 1
    assert "trial loss optimizer.learning_rate optimizer.b2 accuracy steps seconds ending" in text
    assert "too good" in text and "diverged at step 20" in text and "the values quarrel" in text
    assert "2.0 s compiling, all trials" in text and "8.0 s training, all trials" in text and "120 steps" in text
    assert "Training takes most of the time: 80 % of 10.0 s." in text
    assert "importance takes at least" in text.lower()
    assert page.count("<svg") == 6 and "<script" not in page and "src=" not in page
    assert f"optchain tune study.toml --out {tuning.folder}" in text
    assert f"optchain train {tuning.folder / 'best.toml'}" in text
    searched = tomllib.loads(page[page.index("[search]") : page.index("</pre>", page.index("[search]"))])
    assert searched["space"]["optimizer.learning_rate"] == {"use": "log", "low": 1e-4, "high": 1.0}


def test_a_best_at_the_edge_is_a_warning(tuning):
    played = play(tuning, "finished", 0.5)
    rate = played.labels["optimizer.learning_rate"]
    assert not outcome(tuning).edges
    narrow = tuning.study.space["optimizer.learning_rate"].model_copy(update={"low": rate, "high": 10.0})
    space = tuning.study.space | {"optimizer.learning_rate": narrow}
    moved = Tuning(tuning.study.model_copy(update={"space": space}), tuning.folder, "study.toml", tuning.command)
    warning = f"optimizer.learning_rate = {rate:g} is at the lower end of what was searched, {rate:g} to 10"
    assert f"{warning}. The best may lie outside" in text_of(page_of(moved))
    assert f"{warning}; extend the space and search again" in lines_of(moved, outcome(moved))


def test_what_diverged_with_a_fresh_seed_is_said(tuning):
    play(tuning, "finished", 0.2)
    assert "No run with a fresh seed has ended" in text_of(page_of(tuning))
    freshen(tuning, [math.nan, 0.4])
    assert "1 of 2 runs with fresh seeds diverged" in text_of(page_of(tuning))
    assert any("0.4000" in line for line in lines_of(tuning, outcome(tuning)))


def test_the_command_writes_it_anew_at_any_moment(tuning, capsys):
    path = tuning.folder / "report.html"
    assert main(["report", str(tuning.folder)]) == 0
    assert "no trial has finished: none has begun" in capsys.readouterr().out
    assert "No trial has finished yet" in path.read_text()
    play(tuning, "finished", 0.2)
    assert main(["report", str(tuning.folder)]) == 0
    assert "best of 1 trial: number 0" in capsys.readouterr().out and "0.2000" in path.read_text()
    assert reopened(tuning.folder).study == tuning.study
    assert main(["report", str(tuning.folder), "--out", "x.html"]) == 2
    assert "goes to its folder" in capsys.readouterr().err


@pytest.mark.parametrize("values", [[1.0, 2.0, 3.0], {"a": 1.0, "b": 2.0, "c": 3.0}])
def test_the_edge_of_a_choice_of_numbers_is_by_value_not_by_name(values):
    dimension = Choice(use="choice", values=values)
    first, middle, last = dimension.labels
    assert edge(dimension, first) == "1 is at the lower end of what was searched, 1 to 3"
    assert edge(dimension, last) == "3 is at the upper end of what was searched, 1 to 3"
    assert edge(dimension, middle) is None and edge(Choice(use="choice", values=["a", "b", "c"]), "a") is None
