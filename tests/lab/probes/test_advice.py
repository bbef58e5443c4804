"""Advice follows from what is seen; what a file says itself stands as it is."""

import dataclasses
import tomllib

import numpy as np
import pytest
import small_runs

from optchain import lab
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.data.examples import Examples
from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.task import Split, Task
from optchain.lab.probes.advice import data, gradients, length
from optchain.lab.probes.advice.advice import Advice, applied
from optchain.lab.probes.advice.model import of_model
from optchain.lab.probes.advice.study import SEARCHED
from optchain.lab.probes.advice.suggest import Suggestion
from optchain.lab.runs import config
from optchain.lab.runs.facts import Facts
from optchain.lab.settings.load import flat
from optchain.lab.training.experiment import build, load_task
from optchain.lab.tuning.nearest import distance
from optchain.lab.tuning.tables import Study

DRAW = np.random.default_rng(0)
CIRCLES = f'[task]\nuse = "{small_runs.ROOT}/experiments/tasks/circles.py:circles"\n'


def told(advice):
    return {one.key: one.value for one in advice}


def table(rows, **keys):
    return Examples(rows, np.zeros(len(rows)), **keys)


def task(inputs, targets=None, labels=None, **keys):
    targets = np.zeros(len(inputs)) if targets is None else np.asarray(targets)
    split = {"train": Split(inputs, targets)}
    keys = {"outputs": 1, "shape": None} | keys
    return Task(split, {"train": np.arange(len(inputs))}, labels, prepare=lambda x: x, **keys)


@pytest.mark.parametrize(
    ("n", "said", "expected"),
    [
        (500, {}, {"task.validation": 0.2, "task.test": 0.2}),
        (20_000, {}, {"task.validation": 0.1, "task.test": 0.1}),
        (90_000, {}, {"task.validation": 5_000, "task.test": 5_000}),
        (500, {"test": 100}, {"task.validation": 0.2}),
        (500, {"folds": 5}, {}),
    ],
)
def test_how_many_are_held_out(n, said, expected):
    found = list(data.of_split(table(np.zeros((n, 1))), said))
    assert told(found) == expected
    if n == 500 and not said:
        assert "100 of 500 examples" in found[0].why and "5.0 points" in found[0].why
    assert told(data.of_split(table(np.zeros((n, 1)), split=np.full(n, "train")), {})) == {}


def test_what_training_rows_ask_for():
    clean = DRAW.normal(size=(400, 4))
    every = np.arange(400)
    assert told(data.of_preparation(table(clean), every)) == {"preprocess.scale.use": "standardize"}
    assert told(data.of_preparation(table(clean, steps={"s": Standardize()}), every)) == {}
    holes, far = clean.copy(), clean.copy()
    holes[::10, 1] = np.nan
    far[::50, 2] = 1e4
    assert told(data.of_preparation(table(holes), every))["preprocess.fill.use"] == "impute"
    assert told(data.of_preparation(table(far), every))["preprocess.clip.use"] == "clip_outliers"
    held_out = np.setdiff1d(every, every[::50])  # the far ones are none of the training rows
    assert "preprocess.clip.use" not in told(data.of_preparation(table(far), held_out))
    assert data.far_out(np.repeat(np.arange(5.0), 20)[:, None]) == 0
    assert data.far_out(np.append(np.arange(99.0), 1e6)[:, None]) == pytest.approx(0.01)


def test_rare_classes():
    for counts, expected in (
        ((50, 40), {}),
        ((90, 30), {"loss.class_weights": "balanced"}),
        ((900, 30), {"train.sampling": "balanced"}),
    ):
        targets = np.repeat([0, 1], counts)
        found = list(data.of_classes(task(np.zeros((len(targets), 2)), targets, labels=["no", "yes"])))
        assert told(found) == expected
        assert all(f"class no has {counts[0]} training examples, class yes {counts[1]}" in one.why for one in found)
    assert not list(data.of_classes(task(np.zeros((4, 2)))))


def test_which_model_takes_the_inputs():
    assert told(of_model(task(np.zeros((1_000, 30))))) == {"model.use": "network", "model.hidden": [32, 32]}
    images = told(of_model(task(np.zeros((200, 8, 8, 1)))))
    assert images == {"model.use": "network", "model.channels": [16, 32], "model.hidden": [16]}
    assert told(of_model(task(np.zeros((9, 8), np.int32), outputs=256))) == {"model.use": "transformer"}
    assert told(of_model(task(np.zeros((9, 8), np.int32), ids=500))) == {"model.use": "embedding"}
    assert not list(of_model(task({"a": np.zeros(3)}, np.zeros(3))))


def test_what_follows_from_the_length():
    assert [length.epochs(n).value for n in (100, 10_000, 10**6)] == [300, 30, 5]
    assert [length.b2(n).value for n in (500, 5_000, 50_000)] == [0.95, 0.99, 0.999]
    assert [length.warmup(n, b2).value for n, b2 in ((5_000, 0.99), (500, 0.999))] == [200, 50]
    assert length.decay(5_000, 1e-3).value == 0.2
    assert length.decay(100, 1e-3).value == 0.5 and "is 10, for the run is short" in length.decay(100, 1e-3).why


def test_what_the_file_says_stands():
    said = {"task": {"use": "a:b", "test": 9}, "train": {"steps": 7}, "loss": {"use": "squared"}}
    found = Suggestion(said, small_runs.ROOT, "data.toml")
    keys = ("task.test", "task.validation", "train.epochs", "train.batch", "loss.class_weights", "model.hidden")
    found.add(*(Advice(key, 1, "") for key in keys))
    assert [one.key for one in found.advice] == ["task.validation", "train.batch", "model.hidden"]
    assert found.tables == said | {
        "task": {"use": "a:b", "test": 9, "validation": 1},
        "train": {"steps": 7, "batch": 1},
        "model": {"hidden": 1},
    }
    assert said["task"] == {"use": "a:b", "test": 9}
    assert applied({}, [Advice('space."a.b".low', 1, "")]) == {"space": {"a.b": {"low": 1}}}


@pytest.mark.full
def test_the_norm_is_the_quantile_of_the_gradients(tmp_path):
    (tmp_path / "data.toml").write_text(CIRCLES)
    found = Suggestion(tomllib.loads(CIRCLES + "validation = 100\n"), tmp_path, "data.toml")
    config = found.config(Advice("model.hidden", [8], ""))
    task = load_task(config)
    norm = gradients.clip(config, "optimizer.clip.max_norm", "data.toml", task)
    assert 0 < norm.value < 10 and "90% of the gradients of 200 steps are shorter" in norm.why
    small = found.config(Advice("train.batch", 8, ""), Advice("model.hidden", [8], ""))
    size = gradients.batch(small, "data.toml", task)
    assert size.value in (8, 16, 32) and "noise scale of the gradient" in size.why


READING = """import numpy as np

def data():
    print("read")
    inputs = np.random.default_rng(0).normal(size=(200, 3))
    return inputs, inputs[:, 0] > 0
"""


def test_the_data_are_read_once(tmp_path, capsys):
    (tmp_path / "mine.py").write_text(READING)
    lab.suggest({"task": {"use": "mine.py:data"}}, folder=tmp_path)
    assert capsys.readouterr().out.splitlines().count("read") == 1


def test_the_file_that_is_written_trains(tmp_path, capsys):
    path = tmp_path / "data.toml"
    path.write_text(CIRCLES)
    assert main(["suggest", str(path)]) == 0
    said = capsys.readouterr().out
    written = tmp_path / "data-suggested.toml"
    assert f"written: {written}" in said and f"optchain train {written}" in said
    text = written.read_text()
    built = build(config.load(written), str(written))
    assert built.task.size == 600 and built.config.train.steps and built.config.optimizer["lr"]
    numbers = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
    reasons = [line for line in text.splitlines()[2:] if line.startswith("# ")]
    assert len(reasons) == len(numbers) - 1  # all but the task's own `use`
    found = lab.suggest(path)
    assert flat(found.tables) == flat(tomllib.loads(text)) and all(one.why for one in found.advice)
    assert main(["suggest", str(path)]) == 2
    assert "data-suggested.toml exists; choose another --out" in capsys.readouterr().err
    assert main(["suggest", str(path), "--out", str(tmp_path / "x" / "y.toml")]) == 2
    assert f"expected a file in {tmp_path}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[train]\nsteps = 3\n", "expected a table [task] that says what the data are; there is [train]"),
        ("", "expected a table [task] that says what the data are; there is nothing"),
        (f"{CIRCLES}valdation = 3\n", "task.valdation"),
        ('[task]\nuse = "nowhere.py:x"\n', "nowhere.py"),
    ],
)
def test_files_that_describe_no_task(tmp_path, capsys, text, problem):
    (tmp_path / "data.toml").write_text(text)
    assert main(["suggest", str(tmp_path / "data.toml")]) == 2
    assert problem in capsys.readouterr().err


def test_no_file():
    with pytest.raises(InputError, match="expected a table"):
        Suggestion({}, small_runs.ROOT, "data.toml")


@pytest.mark.full
def test_a_study_begins_with_what_is_advised_and_with_the_best_of_the_nearest(tmp_path, capsys):
    path = tmp_path / "data.toml"
    path.write_text(CIRCLES + "validation = 200\n[model]\nhidden = [4]\n[train]\nsteps = 40\nbatch = 64\n")
    assert main(["suggest", str(path), "--study"]) == 0
    study = config.load(tmp_path / "data-suggested.toml", table=Study)
    (first,) = study.search.enqueue
    assert set(first) == set(SEARCHED) == set(study.space)
    assert main(["suggest", str(path), "--earlier", str(tmp_path)]) == 2
    assert "expected --study too" in capsys.readouterr().err
    assert main(["suggest", str(path), "--study", "--overwrite", "--earlier", str(tmp_path)]) == 2
    assert "holds no finished study; expected the folder of earlier studies" in capsys.readouterr().err
    tuned = ["tune", str(tmp_path / "data-suggested.toml"), "--out", str(tmp_path / "runs" / "one")]
    assert main([*tuned, "--set", "search.trials=2", "--set", "search.fresh=1"]) == 0
    assert main(["suggest", str(path), "--study", "--overwrite", "--earlier", str(tmp_path / "runs")]) == 0
    study = config.load(tmp_path / "data-suggested.toml", table=Study)
    best = flat(config.load(tmp_path / "runs" / "one" / "best.toml").model_dump())
    assert study.search.enqueue[1] == {key: best[key] for key in SEARCHED}
    text = (tmp_path / "data-suggested.toml").read_text()
    assert f"2. best of {tmp_path / 'runs' / 'one'}, at a distance of 0" in text


def test_how_unlike_two_tasks_are():
    one = Facts({"train": 1_000}, {}, None, 30, 2, 0.5)
    assert distance(one, one) == 0
    assert distance(one, dataclasses.replace(one, examples={"train": 100})) == pytest.approx(1)
    assert distance(one, dataclasses.replace(one, inputs=300, rarest=0.05)) == pytest.approx(2**0.5)
    assert distance(one, dataclasses.replace(one, rarest=None)) == np.inf
