"""The lab from Python: trainings, studies and comparisons on objects, begun here and read elsewhere."""

import subprocess
import sys

import chex
import flax.linen as nn
import numpy as np
import pytest
from flax import nnx

import optchain as oc
from optchain import lab

DRAW = np.random.default_rng(0)
X = DRAW.normal(size=(200, 5))
Y = np.array(["low", "mid", "high"])[np.digitize(X[:, 0] + X[:, 1] ** 2, [0, 1.2])]
TASK = lab.Arrays(X, Y, validation=0.2, test=0.2)
SHORT = {"steps": 40, "batch": 32, "evaluate_every": 20, "quiet": True}


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(self.width)(x)))


class Nnx(nnx.Module):
    def __init__(self, width: int, *, rngs: nnx.Rngs):
        self.hidden, self.last = nnx.Linear(5, width, rngs=rngs), nnx.Linear(width, 3, rngs=rngs)

    def __call__(self, x):
        return self.last(nnx.relu(self.hidden(x)))


MODELS = {
    "a module of linen": Linen(8),
    "a function that makes one": lambda: Linen(8),
    "a function of rngs": lambda rngs: Nnx(8, rngs=rngs),
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "run"
    return lab.train(task=TASK, model=lambda: Linen(8), optimizer=lambda: oc.adamw(1e-2), out=folder, **SHORT)


def test_a_run_has_scores_history_parameters_and_answers(run):
    assert list(run.scores) == ["train", "validation", "test"] and set(run.scores["test"]) == {"loss", "accuracy"}
    assert run.ending == "finished" and len(run.losses) == 40 and [row["step"] for row in run.history] == [20, 40]
    assert run.params["Dense_1"]["kernel"].shape == (5, 8) and run.rest == {}
    answers = run.predict(X)
    assert set(answers["class"]) <= {"low", "mid", "high"}
    rows = run.trained.experiment.task.rows["test"]
    assert np.mean(answers["class"][rows] == Y[rows]) == pytest.approx(run.scores["test"]["accuracy"])
    assert "finished at step 40" in repr(run) and run.report().is_file()


@pytest.mark.parametrize("name", MODELS)
def test_models_may_be_given_in_several_ways(name, tmp_path):
    made = lab.train(task=TASK, model=MODELS[name], optimizer=oc.adamw(1e-2), out=tmp_path / "run", **SHORT)
    assert made.scores["train"]["accuracy"] > 0.5


@pytest.mark.full
def test_another_process_reads_it_without_the_script(run):
    """A lambda, and a class that this file defines, are in the run's folder."""
    code = f"from optchain import lab; import numpy as np; run = lab.open({str(run.folder)!r})\n"
    code += "print(run.predict(np.ones((1, 5)))['class'][0])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [run.predict(np.ones((1, 5)))["class"][0]]


def test_the_same_call_goes_on_and_another_is_refused(run):
    again = lab.train(task=TASK, model=lambda: Linen(8), optimizer=lambda: oc.adamw(1e-2), out=run.folder, **SHORT)
    chex.assert_trees_all_equal(again.params, run.params)
    more = SHORT | {"steps": 60}
    longer = lab.train(task=TASK, model=lambda: Linen(8), optimizer=lambda: oc.adamw(1e-2), out=run.folder, **more)
    np.testing.assert_array_equal(longer.losses[:40], run.losses[:40])
    assert len(longer.losses) == 60
    with pytest.raises(lab.InputError, match="was started with another configuration.*\n.*model.use"):
        lab.train(task=TASK, model=lambda: Linen(9), optimizer=lambda: oc.adamw(1e-2), out=run.folder, **more)


def cubed(outputs, targets, power: float = 3.0):
    return abs(outputs[:, 0] - targets) ** power


def within(outputs, targets):
    return abs(outputs[:, 0] - targets) < 0.5


class One(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(x)


def test_losses_and_metrics_are_functions_or_names(tmp_path):
    made = lab.train(
        task=lambda: lab.Examples(X, X @ np.arange(5.0)),
        model=One,
        optimizer=oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1)),
        loss=cubed,
        metrics=[within, "r2"],
        out=tmp_path / "run",
        **SHORT,
    )
    assert list(made.scores["train"]) == ["loss", "within", "r2"] or set(made.scores["train"]) == {
        "loss",
        "within",
        "r2",
    }
    assert made.config.optimizer["adam"] == {"use": "scale_by_adam"} and made.config.loss.power == 3.0


@pytest.mark.full
def test_a_study_searches_arguments(tmp_path):
    call = {
        "task": TASK,
        "model": lambda width: Linen(width),
        "optimizer": lambda rate: oc.adamw(rate),
        "space": {"model.width": lab.choice([4, 8]), "optimizer.rate": lab.log(1e-3, 1e-1)},
        **SHORT,
    }
    study = lab.tune(**call, trials=3, fresh=2, out=tmp_path / "study")
    assert study.best["model.width"] in (4, 8) and 1e-3 <= study.best["optimizer.rate"] <= 1e-1
    assert len(study.trials) == 3 and min(row["score"] for row in study.trials) == study.score
    assert [run.ending for run in study.fresh] == ["finished"] * 2 and study.report().is_file()
    assert study.config.model.width == study.best["model.width"] and "Study(" in repr(study)
    more = lab.tune(**call, trials=4, fresh=2, out=tmp_path / "study")
    assert [row["score"] for row in more.trials[:3]] == [row["score"] for row in study.trials[:3]]
    assert len(more.trials) == 4 and lab.open(tmp_path / "study").best == more.best


@pytest.mark.full
def test_a_comparison_tunes_each_and_ranks_them(tmp_path):
    made = lab.compare(
        task=TASK,
        model=Linen(8),
        optimizers={
            "adam": (lambda rate: oc.adam(rate), {"rate": lab.log(1e-3, 1e-1)}),
            "sgd": (lambda rate, momentum=0.0: oc.sgd(rate, momentum), {"rate": lab.log(1e-2, 1.0)}),
        },
        steps=40,
        batch=32,
        evaluate_every=20,
        trials=2,
        fresh=2,
        out=tmp_path / "comparison",
    )
    assert {row["optimizer"] for row in made.standings} == {"adam", "sgd"} == set(made.studies)
    assert len(made.trials) == 8 and made.report().is_file() and "Comparison(" in repr(made)


@pytest.mark.full
def test_a_rate_is_found(tmp_path):
    sweep = lab.find_lr(task=TASK, model=Linen(8), optimizer=oc.adam(1e-3), batch=32, out=tmp_path / "rates")
    assert 1e-5 < sweep.steepest < 1 and (tmp_path / "rates" / "report.html").is_file()


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"model": lambda width, depth: Linen(width)},
            "model takes 'depth', which has no default; give it one, or put",
        ),
        (
            {"space": {"model.widht": lab.choice([1])}},
            "space.'model.widht': there is no such argument; did you mean 'wi",
        ),
        ({"model": Nnx(8, rngs=nnx.Rngs(0))}, "model: got a Nnx of nnx; expected its class, or a function of rngs"),
        ({"optimizer": 3}, "optimizer: got 3; expected a chain, or a function that makes one"),
        ({"loss": "cros_entropy"}, "loss.use: got 'cros_entropy'; did you mean 'cross_entropy'?"),
        ({"los": "squared"}, "los: unknown argument; did you mean 'loss'?"),
        (
            {"task": lab.Arrays(X, Y[:-1], validation=0.2)},
            "inputs has 200 rows, targets has 199 rows; expected",
        ),
        ({"task": lab.Arrays(X, Y, validation=300)}, "task.validation: 300 of 200 examples"),
        ({"loss": lambda outputs: 0.0}, "loss: .*takes 1 positional argument but 2 were given"),
        (
            {"model": lambda width: One()},
            r"model: got outputs \[2, 1\] for targets \[2\] of 3 classes; expected",
        ),
    ],
)
def test_mistakes_are_named(changes, message, tmp_path):
    call = {
        "task": TASK,
        "model": lambda width: Linen(width),
        "optimizer": oc.adamw(1e-2),
        "space": {"model.width": lab.choice([4, 8])},
        **SHORT,
    }
    with pytest.raises(lab.InputError, match=message):
        lab.tune(**(call | changes), trials=2, out=tmp_path / "study")
    assert not (tmp_path / "study").exists()
