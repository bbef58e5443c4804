"""Runs that begin with what another one has learned."""

import shutil

import chex
import numpy as np
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.logs import read
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("source")).run


def start(tmp_path, source, *sets):
    """The carry with which a run begins, and that of one that begins anew."""
    resolved = config.load(small_runs.small(tmp_path), [f"start.run={source.folder}", *sets])
    built = build(resolved, "small.toml")
    return Program(built).start(resolved), built.start()


def test_all_parameters_are_those_of_the_model_that_counts(tmp_path, source):
    carry, fresh = start(tmp_path, source)
    average = restore(source).models["average"]
    chex.assert_trees_all_equal(models(carry)["parameters"], average)
    # The chain's average begins at them too; otherwise the optimizer's state is that of a run that begins anew.
    chex.assert_trees_all_equal(models(carry)["average"]["params"], average["params"])
    adams = [x["opt_state"]["links"]["adam"]["scale_by_adam"]["mu"] for x in (carry, fresh)]
    chex.assert_trees_all_equal(*adams)
    assert int(carry["step"]) == 0


def test_patterns_choose(tmp_path, source):
    carry, fresh = start(tmp_path, source, "start.only=['*/kernel']", "start.exclude=['Dense_1/*']", "train.seed=9")
    learned = restore(source).models["average"]["params"]
    np.testing.assert_array_equal(carry["params"]["Dense_0"]["kernel"], learned["Dense_0"]["kernel"])
    np.testing.assert_array_equal(carry["params"]["Dense_1"]["kernel"], fresh["params"]["Dense_1"]["kernel"])
    chex.assert_trees_all_equal(carry["params"]["Block_0"], fresh["params"]["Block_0"])
    chex.assert_trees_all_equal(carry["rest"], fresh["rest"])


@pytest.mark.parametrize(
    "sets, message",
    [
        (["start.only=['*/kernle']"], r"start.only: '\*/kernle' fits no parameter"),
        (["start.exclude=['Dense_7/*']"], r"start.exclude: 'Dense_7/\*' fits no parameter; did you mean 'Dense_"),
        (
            ["model.hidden=[12]"],
            r"(?s)not all parameters.*start.exclude.*\n  Dense_0/kernel: 2 x 10 there, 2 x 12 here\n"
            r"  Dense_1/kernel: 10 x 1 there, 12 x 1 here",
        ),
        (["model.hidden=[10, 10]"], r"(?s)  Dense_2/bias: absent there, 1 here"),
        (["start.run=nowhere"], "nowhere holds no run"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path, source, sets, message):
    with pytest.raises(InputError, match=message):
        start(tmp_path, source, *sets)


def test_shapes_that_differ_may_be_left_out(tmp_path, source):
    carry, _ = start(tmp_path, source, "model.hidden=[10, 10]", "start.only=['Dense_0/*', 'Block_0/*']")
    learned = restore(source).models["average"]["params"]
    chex.assert_trees_all_equal(carry["params"]["Block_0"], learned["Block_0"])
    assert "Dense_2" in carry["params"]


@pytest.mark.full
def test_a_resumed_run_needs_the_other_no_more(tmp_path, source, capsys):
    other = tmp_path / "other"
    shutil.copytree(source.folder, other)
    file, folder = small_runs.small(tmp_path), tmp_path / "run"
    arguments = ["train", str(file), "--set", f"start.run={other}", "--out", str(folder)]
    assert main(arguments) == 0
    scored = restore(source).scores()["train"]["average"]["loss"]
    losses = [row["loss"] for row in read(folder / "metrics.jsonl") if "loss" in row]
    assert np.mean(losses[:5]) < 1.5 * scored + 0.2
    shutil.rmtree(other)
    assert main([*arguments, "--set", "train.steps=80", "--resume"]) == 0
    assert Run(folder).result["step"] == 80
    assert main(["evaluate", str(folder)]) == 0
    assert main([*arguments, "--overwrite"]) == 2  # and nothing is removed
    assert "holds no run" in capsys.readouterr().err and Run(folder).result["step"] == 80


def test_a_run_is_not_removed_to_begin_with_it(tmp_path, capsys):
    trainer = small_runs.train(tmp_path, "train.steps=20")
    folder = str(trainer.run.folder)
    arguments = ["train", str(small_runs.small(tmp_path)), "--set", f"start.run={folder}", "--out", folder]
    assert main([*arguments, "--overwrite"]) == 2
    assert f"start.run: {folder} would be overwritten" in capsys.readouterr().err and restore(trainer.run).step == 20
