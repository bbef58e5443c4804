"""Configurations from Python: read from a file, changed, trained, tuned and compared."""

import signal

import chex
import numpy as np
import pytest
import small_runs

from optchain import lab
from optchain.lab.training import train
from optchain.lab.training.program import Program

RUN = """
[task]
use = "linear.py:linear"
validation = 20
test = 20

[model]

[train]
steps = 20
batch = 8
evaluate_every = 20

[optimizer]
use = "adam"
learning_rate = 1e-2
"""
SEARCH = {"search": {"sampler": "random", "trials": 2, "fresh": 2, "parallel": "vmap"}}
SPACE = {"optimizer.learning_rate": {"use": "log", "low": 1e-3, "high": 1e-1}}
STUDY = SEARCH | {"space": SPACE}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file, with the task beside it."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "linear.py").write_text((small_runs.ROOT / "experiments/tasks/linear.py").read_text())
    (folder / "run.toml").write_text(RUN)
    return folder / "run.toml"


def test_a_file_is_trained_with_changed_values(path, tmp_path):
    loaded = lab.load(path, {"train.seed": 3, "optimizer": {"use": "sgd", "learning_rate": 0.1}})
    run = loaded.train(tmp_path / "run", quiet=True)
    assert run.config.train.seed == 3 and run.config.optimizer == {"use": "sgd", "learning_rate": 0.1}
    assert run.result is not None and run.result["step"] == 20 and run.result["ending"] == run.ending == "finished"
    assert set(run.scores) == set(loaded.task.splits) == {"train", "validation", "test"}
    assert repr(loaded) == f"Configuration({str(path)!r})"
    # The same call finds it done; another configuration is refused, unless the run is to be removed.
    written, scores = (run.folder / "result.json").stat().st_mtime_ns, run.scores
    assert loaded.train(tmp_path / "run", quiet=True).scores == scores
    assert (run.folder / "result.json").stat().st_mtime_ns == written
    with pytest.raises(lab.InputError, match="train.seed: 3 -> 4"):
        loaded.changed({"train.seed": 4}).train(tmp_path / "run", quiet=True)
    other = loaded.changed({"train.seed": 4}).train(tmp_path / "run", overwrite=True, quiet=True)
    assert other.scores != scores and loaded.tables["train"]["seed"] == 3


@pytest.mark.full
def test_it_is_the_run_of_the_command(path, tmp_path):
    """Bit for bit, also where the steps are counted in epochs."""
    epochs = {"train": {"epochs": 2, "batch": 8, "evaluate_every": "epoch"}}
    run = lab.load(path, epochs).train(tmp_path / "run", quiet=True)
    built = lab.load(run.folder / "config.json").train(tmp_path / "again", quiet=True)
    assert run.config.train.steps == 16
    chex.assert_trees_all_equal(run.params, built.params)
    np.testing.assert_array_equal(run.losses, built.losses)
    with pytest.raises(lab.InputError, match="train.steps: got 16, but 3 epochs of 60 examples are 24"):
        lab.load(run.folder / "config.json", {"train.epochs": 3}).train(tmp_path / "longer", quiet=True)
    assert not (tmp_path / "longer").exists()


@pytest.mark.full
def test_a_study_is_checked_tuned_and_run_with_its_fresh_seeds(path, tmp_path):
    loaded = lab.load(path, STUDY)
    loaded.check()
    assert [*tmp_path.iterdir()] == []
    study = loaded.tune(tmp_path / "study", quiet=True)
    assert [run.config.train.seed for run in study.fresh] == loaded.fresh_seeds
    assert len(study.trials) == 2 and set(study.best) == set(SPACE)
    # What the best values make of a fresh seed is what the configuration with them makes of it.
    seed, best = loaded.fresh_seeds[1], study.best["optimizer.learning_rate"]
    again = loaded.changed({"train.seed": seed, "optimizer.learning_rate": best}).train(tmp_path / "run", quiet=True)
    chex.assert_trees_all_close(again.scores, study.fresh[1].scores, rtol=1e-5)


def test_what_differs_in_seeds_alone_is_compiled_once(path, tmp_path, monkeypatch):
    compiled, original = [], Program.compiled

    def counting(self, arguments, steps):
        before = len(self._compiled)
        made = original(self, arguments, steps)
        compiled.extend([steps] * (len(self._compiled) - before))
        return made

    monkeypatch.setattr(Program, "compiled", counting)
    loaded = lab.load(path)
    for seed in range(3):
        loaded.changed({"train.seed": seed}).train(tmp_path / str(seed), quiet=True)
    assert compiled == [20]
    lab.load(path).train(tmp_path / "apart", quiet=True)
    assert compiled == [20, 20]


@pytest.mark.full
def test_a_comparison_is_made(path, tmp_path):
    chain = {"use": "adam", "learning_rate": 1e-2}
    contender = {"chain": chain, "space": {"learning_rate": {"use": "log", "low": 1e-3, "high": 1e-1}}}
    setup = {name: x for name, x in lab.load(path).tables.items() if name != "optimizer"}
    tables = setup | SEARCH | {"optimizers": {"one": contender, "two": contender}}
    loaded = lab.Configuration(tables, folder=path.parent, source="mine")
    loaded.check()
    assert len(loaded.compare(tmp_path / "comparison").standings) == 2


def test_a_signal_is_raised_and_the_same_call_resumes(path, tmp_path, monkeypatch):
    monkeypatch.setattr(train.Signals, "received", signal.SIGTERM)
    loaded = lab.load(path)
    with pytest.raises(lab.Interrupted) as raised:
        loaded.train(tmp_path / "run", quiet=True)
    assert raised.value.signal == signal.SIGTERM and lab.open(tmp_path / "run").ending == "unfinished"
    assert lab.open(tmp_path / "run").result is None
    monkeypatch.undo()
    assert loaded.train(tmp_path / "run", quiet=True).ending == "finished"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train.stepps": 3}, r"run.toml: train.stepps: unknown key; did you mean 'steps'"),
        ({"train.steps.x": 3}, r"run.toml: train.steps.x: train.steps is 20, no table"),
        ({"train steps": 3}, r"run.toml: got the key 'train steps'; expected a dotted key such as 'train.seed'"),
        ({"space": SPACE}, r"run.toml: search: missing"),
        ({"task.use": "linear.py:lin"}, r"run.toml: task.use: .*lin"),
    ],
)
def test_what_cannot_be_is_an_error_at_once(path, changes, message):
    with pytest.raises(lab.InputError, match=message):
        lab.load(path, changes)


def test_what_a_configuration_is_not_for_is_an_error(path, tmp_path):
    with pytest.raises(lab.InputError, match=r"run.toml: got no table \[space\]; tune needs it"):
        lab.load(path).tune(tmp_path / "study")
    with pytest.raises(lab.InputError, match=r"run.toml: got no table \[optimizers\]; compare needs it"):
        lab.load(path, STUDY).compare(tmp_path / "comparison")
    with pytest.raises(lab.InputError, match=r"run.toml: space: got none; expected a dimension, or train\(\)"):
        lab.load(path, SEARCH | {"space": {}}).tune(tmp_path / "study")
    assert [*tmp_path.iterdir()] == []
