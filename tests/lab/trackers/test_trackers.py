"""What a run tells TensorBoard, Weights & Biases, MLflow and trackio."""

import struct
import sys
import types

import chex
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs.run import Run
from optchain.lab.trackers import tables

STEPS = "train.steps=40"


def events(folder):
    """The scalars and texts of TensorBoard's files: (name, step) -> what is there."""
    pb = pytest.importorskip("tensorboardX.proto.event_pb2")
    found = {}
    for path in sorted(folder.glob("events*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack_from("<Q", data, at)
            event = pb.Event.FromString(data[at + 12 : at + 12 + length])
            at += 16 + length
            for value in event.summary.value:
                found[value.tag, event.step] = value.simple_value or value.tensor.string_val
    return found


def test_tensorboard_has_steps_evaluations_configuration_and_scores(tmp_path):
    pytest.importorskip("tensorboardX")
    plain = small_runs.train(tmp_path, STEPS, folder="plain")
    trainer = small_runs.train(tmp_path, STEPS, "trackers.board={use='tensorboard'}")
    chex.assert_trees_all_equal(plain.carry, trainer.carry)
    found = events(trainer.run.folder / "tensorboard")
    assert [step for name, step in found if name == "batch/loss"] == list(range(1, 41))
    assert {step for name, step in found if name.startswith("optimizer/")} == set(range(5, 41, 5))
    assert {step for name, step in found if name == "evaluation/validation_loss"} == {20, 40}
    score = trainer.run.result["scores"]["test"]["average"]["loss"]
    assert found["scores/test/average/loss", 40] == pytest.approx(score, rel=1e-6)
    assert b"finished" in found["ending/text_summary", 40][0]
    assert b'"optimizer.lr.start": 0.01' in found["configuration/text_summary", 0][0]


class Recorder:
    """Stands for a run of another program, and remembers what it is told."""

    def __init__(self):
        self.told, self.summary, self.ended = [], {}, False

    def log(self, values, step=None):
        self.told.append((step, values))

    def finish(self):
        self.ended = True


@pytest.mark.parametrize("use", ["wandb", "trackio"])
def test_programs_with_a_run_are_told_the_same(tmp_path, monkeypatch, use):
    module, recorder, given = types.ModuleType(use), Recorder(), {}
    module.init = lambda **more: given.update(more) or recorder
    module.finish = recorder.finish
    module.__spec__ = types.SimpleNamespace()
    monkeypatch.setitem(sys.modules, use, module)
    trainer = small_runs.train(tmp_path, STEPS, f"trackers.t={{use='{use}', project='p'}}")
    assert given["project"] == "p" and given["config"]["train.steps"] == 40
    assert [step for step, values in recorder.told if "batch/loss" in values] == list(range(1, 41))
    assert [step for step, values in recorder.told if "evaluation/validation_loss" in values] == [20, 40]
    last = recorder.summary if use == "wandb" else recorder.told[-1][1]
    assert last["ending"] == "finished" and recorder.ended
    assert last["scores/test/average/loss"] == trainer.run.result["scores"]["test"]["average"]["loss"]


def test_mlflow_is_told_in_batches(tmp_path, monkeypatch):
    told, tags = [], {}

    class Client:
        def __init__(self, tracking_uri):
            assert tracking_uri.startswith("sqlite:////") and tracking_uri.endswith("/run/mlflow.db")

        def get_experiment_by_name(self, name):
            return None

        def create_experiment(self, name):
            return "7"

        def create_run(self, number, run_name):
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id=f"{number}-{run_name}"))

        def log_batch(self, run, metrics=(), params=()):
            assert run == "7-run" and len(metrics) <= 1000
            told.extend([*metrics, *params])

        def set_tag(self, run, key, value):
            tags[key] = value

        def set_terminated(self, run):
            tags["over"] = True

    package, entities = types.ModuleType("mlflow"), types.ModuleType("mlflow.entities")
    package.MlflowClient = Client
    package.__spec__ = types.SimpleNamespace()
    entities.Metric, entities.Param = (lambda *x: ("metric", *x)), (lambda *x: ("parameter", *x))
    monkeypatch.setitem(sys.modules, "mlflow", package)
    monkeypatch.setitem(sys.modules, "mlflow.entities", entities)
    small_runs.train(tmp_path, STEPS, "trackers.t={use='mlflow'}")
    assert tags == {"ending": "finished", "over": True}
    assert ("parameter", "train.steps", "40") in told
    assert [x[-1] for x in told if x[:2] == ("metric", "batch/loss")] == list(range(1, 41))
    assert any(x[1] == "scores/test/average/loss" for x in told)


@pytest.mark.filterwarnings("ignore")
def test_mlflow_itself_gives_it_back(tmp_path):
    mlflow = pytest.importorskip("mlflow")
    trainer = small_runs.train(tmp_path, STEPS, "trackers.t={use='mlflow'}")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{trainer.run.folder.resolve() / 'mlflow.db'}")
    (found,) = client.search_runs([client.get_experiment_by_name("optchain").experiment_id])
    assert found.data.tags["ending"] == "finished" and found.data.params["train.steps"] == "40"
    assert len(client.get_metric_history(found.info.run_id, "batch/loss")) == 40
    score = trainer.run.result["scores"]["test"]["average"]["loss"]
    assert found.data.metrics["scores/test/average/loss"] == pytest.approx(score)


@pytest.mark.filterwarnings("ignore")
def test_wandb_itself_writes_an_offline_run(tmp_path, capsys):
    pytest.importorskip("wandb")
    trainer = small_runs.train(tmp_path, STEPS, "trackers.t={use='wandb'}")
    (file,) = trainer.run.folder.glob("wandb/offline-run-*/*.wandb")
    assert file.stat().st_size > 1000 and "continues without" not in capsys.readouterr().err


def test_a_tracker_that_fails_is_left_out(tmp_path, monkeypatch, capsys):
    module, recorder = types.ModuleType("wandb"), Recorder()
    module.init = lambda **more: recorder
    module.__spec__ = types.SimpleNamespace()
    recorder.log = lambda *args, **more: 1 / 0
    monkeypatch.setitem(sys.modules, "wandb", module)
    trainer = small_runs.train(tmp_path, STEPS, "trackers.t={use='wandb'}")
    assert trainer.run.result["ending"] == "finished"
    assert capsys.readouterr().err.count("trackers.t: ZeroDivisionError: division by zero; the run continues") == 1


def test_a_package_that_is_missing_is_named_before_anything_is_written(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tables.MLflow, "package", "no_such_package")
    arguments = ["train", str(small_runs.small(tmp_path)), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--set", "trackers.m={use='mlflow'}"]) == 2
    cure = "pip install 'optchain[trackers]'"
    assert f"trackers.m.use: 'mlflow' needs the package no_such_package; {cure}" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    assert main([*arguments, "--set", "trackers.m={use='tensorbord'}"]) == 2
    assert "trackers.m.use: got 'tensorbord'; did you mean 'tensorboard'?" in capsys.readouterr().err
    with pytest.raises(InputError):
        Run(tmp_path / "run").config  # noqa: B018
