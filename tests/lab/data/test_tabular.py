"""Tables of rows and columns, and images of faces."""

import csv

import numpy as np
import pytest
import small_runs
import small_tasks
from sklearn import datasets

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.models.answering import answers
from optchain.lab.runs import run

FILE = """
[task]
use = "experiments.tasks.tabular:Tabular"
data = "wine"
missing = 0.1
test = 50

[preprocess]
fill = { use = "impute", by = "median" }
scale = { use = "standardize" }
choose = { use = "select", k = 6 }

[model]
hidden = [16]

[train]
steps = 150
batch = 32

[optimizer]
adam = { use = "adam", learning_rate = 0.01 }
"""


@pytest.mark.parametrize(
    "data, rows, features, classes",
    [("breast_cancer", 569, 30, 2), ("iris", 150, 4, 3), ("wine", 178, 13, 3)],
)
def test_classes_are_those_of_the_data_set(data, rows, features, classes):
    found = small_tasks.load("tabular", data=data, validation=20, test=30)
    inputs, targets, _ = found.splits["train"]
    assert inputs.shape == (rows - 50, features) and found.features == features
    assert found.classes == classes == targets.max() + 1 and found.outputs == (1 if classes == 2 else classes)
    np.testing.assert_allclose(inputs.mean(0), 0, atol=1e-5)
    np.testing.assert_array_equal(targets, getattr(datasets, f"load_{data}")().target[found.rows["train"]])
    assert set(np.unique(found.splits["test"][1])) == set(range(classes))


def test_the_loss_of_continuous_targets_is_in_deviations_and_the_metric_in_their_unit():
    found = small_tasks.load("tabular", data="diabetes", test=100)
    raw = datasets.load_diabetes().target
    train = raw[found.rows["train"]]
    np.testing.assert_allclose(
        found.splits["test"][1], (raw[found.rows["test"]] - train.mean()) / train.std(), rtol=1e-5
    )
    outputs, targets = np.zeros((100, 1)), found.splits["test"][1]
    np.testing.assert_allclose(found.loss.of(outputs, targets), targets**2, rtol=1e-5)
    np.testing.assert_allclose(
        found.metrics["absolute_error"].of(outputs, targets),
        np.abs(raw[found.rows["test"]] - train.mean()),
        rtol=1e-4,
        atol=1e-3,
    )
    columns = answers(found.loss, found, outputs)
    assert columns["progress"] == pytest.approx(train.mean()) and found.classes is None


def test_faces_are_images_of_two_classes():
    found = small_tasks.load("faces", test=60)
    inputs, targets, _ = found.splits["train"]
    assert inputs.shape == (140, 25, 25, 1) and targets.sum() == 70 and found.classes == 2
    assert inputs.mean() == pytest.approx(0, abs=1e-5) and inputs.std() == pytest.approx(1, abs=1e-5)


def test_values_are_taken_away_by_the_seed_of_the_split():
    def load(seed, missing=0.2):
        table = small_tasks.table("tabular", data="iris", seed=seed, missing=missing)
        return table.build().load().inputs

    first = load(3)
    assert np.isnan(first).mean() == pytest.approx(0.2, abs=0.04)
    np.testing.assert_array_equal(first, load(3))
    assert not np.array_equal(np.isnan(first), np.isnan(load(4)))
    assert not np.isnan(load(3, missing=0.0)).any()


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"name": "tabular"}, "data\n"),
        ({"name": "tabular", "data": "vine"}, "data\n"),
        ({"name": "digits", "data": "wine"}, "data\n  unknown key; valid: fold"),
    ],
)
def test_keys_belong_to_their_task(keys, message):
    with pytest.raises(ValueError, match=message):
        small_tasks.table(**keys)


def test_missing_values_need_a_step():
    with pytest.raises(
        InputError, match="is missing or not finite; expected a step of .preprocess. with use = 'impute'"
    ):
        small_tasks.load("tabular", data="iris", missing=0.1)


@pytest.mark.full
def test_a_run_answers_rows_that_miss_values(tmp_path, capsys):
    file = tmp_path / "wine.toml"
    file.write_text(FILE)
    assert main(["train", str(file), "--out", str(tmp_path / "run")]) == 0
    assert run.find(tmp_path / "run").result["scores"]["test"]["parameters"]["accuracy"] >= 0.85
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    wine = datasets.load_wine()
    lines = [",".join("" if (i + j) % 9 == 0 else f"{x}" for j, x in enumerate(row)) for i, row in enumerate(wine.data)]
    (tmp_path / "rows.csv").write_text("\n".join(lines))
    capsys.readouterr()
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "rows.csv")]) == 0
    answers = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    names = [str(wine.target_names[target]) for target in wine.target]
    assert np.mean([row["class"] == name for row, name in zip(answers, names, strict=True)]) > 0.85
    (tmp_path / "rows.csv").write_text(",".join(["inf"] * 13))
    assert main(["predict", str(tmp_path / "run"), str(tmp_path / "rows.csv")]) == 2
    assert "row 1 is not finite" in capsys.readouterr().err


def test_a_task_that_imputes_nothing_answers_whole_rows_only(tmp_path, capsys):
    trainer = small_runs.train(tmp_path, "train.steps=20")
    (tmp_path / "rows.csv").write_text("1,2\n3,\n")
    assert main(["predict", str(trainer.run.folder), str(tmp_path / "rows.csv")]) == 2
    assert "row 2 is not finite" in capsys.readouterr().err
