"""Runs whose length is a number of epochs."""

import json

import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.logs import read
from optchain.lab.runs.run import Run
from optchain.lab.training.experiment import build


@pytest.fixture
def file(tmp_path):
    """600 examples in batches of 32: 19 steps, the last of which begins the next epoch."""
    path = small_runs.small(tmp_path)
    text = (
        path.read_text().replace("steps = 60", "epochs = 2").replace("evaluate_every = 20", 'evaluate_every = "epoch"')
    )
    path.write_text(text.replace("steps = 300", 'steps = "train.steps"'))
    return path


def test_epochs_become_steps_that_the_run_remembers(tmp_path, file, capsys):
    folder = tmp_path / "run"
    assert main(["train", str(file), "--out", str(folder)]) == 0
    kept = json.loads((folder / "config.json").read_text())
    assert (kept["train"]["epochs"], kept["train"]["steps"], kept["train"]["evaluate_every"]) == (2, 38, 19)
    assert kept["optimizer"]["lr"]["steps"] == 38
    evaluated = [row["step"] for row in read(folder / "metrics.jsonl") if "evaluation" in row]
    assert evaluated == [19, 38] and Run(folder).result["step"] == 38
    assert main(["train", str(file), "--out", str(folder), "--resume"]) == 0
    assert main(["evaluate", str(folder)]) == 0
    capsys.readouterr()
    longer = ["--set", "train.epochs=3", "--out", str(folder), "--resume"]
    assert main(["train", str(folder / "config.json"), *longer]) == 2
    assert (
        "train.steps: got 38, but 3 epochs of 600 examples are 57; leave one of the two out" in capsys.readouterr().err
    )
    assert main(["train", str(file), *longer]) == 0
    assert Run(folder).result["step"] == 57 and Run(folder).config.train.epochs == 3


@pytest.mark.parametrize(
    "sets, message",
    [
        (["train.epochs=0"], "train.epochs"),
        (
            ["train.evaluate_every='epoche'"],
            "train.evaluate_every: got 'epoche'; expected a number of steps from 1 on",
        ),
        (["train.evaluate_every=0"], "train.evaluate_every: got 0; expected"),
        (["train.checkpoint_every=20"], "train: checkpoint_every = 20 is no multiple of evaluate_every = 19"),
        (
            ["train.batch={use='random', sizes=[8, 16], micro=8}"],
            "train.epochs: batches of 8 to 16 examples have no",
        ),
    ],
)
def test_what_does_not_fit_is_named(file, sets, message):
    with pytest.raises(InputError, match=message):
        build(config.load(file, sets), str(file))


def test_a_run_has_a_length(tmp_path):
    path = small_runs.small(tmp_path)
    path.write_text(path.read_text().replace("steps = 60\n", ""))
    with pytest.raises(InputError, match="train: expected steps or epochs"):
        config.load(path)
