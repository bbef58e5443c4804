"""Runs with workers as processes: one is killed, one joins late, the server is killed, and what is refused."""

import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import smooth_project

from optchain.lab.commands.main import main
from optchain.lab.runs import logs
from optchain.lab.runs.run import Run

pytest.importorskip("grpc", reason="grpcio is not installed: pip install 'optchain[workers]'")

PACED = """

def paced(key, inputs):
    import jax, pathlib, time
    file = pathlib.Path(__file__).with_name("pace")

    def wait(inputs):
        time.sleep(float(file.read_text()))
        return inputs

    return jax.pure_callback(wait, jax.ShapeDtypeStruct(inputs.shape, inputs.dtype), inputs)
"""
LOCAL = "{lr = {use = 'sgd', learning_rate = 0.05}}"
OUTER = "optimizer={stale = {use = 'scale_by_staleness'}, lr = {use = 'sgd', learning_rate = 0.5, momentum = 0.5}}"
STEPS, BATCH = 10, 16


def sets(steps, workers, *more):
    table = f"{{use = 'workers', workers = {workers}, local_steps = {STEPS}, local = {LOCAL}}}"
    texts = [f"train.steps={steps}", f"train.batch={BATCH}", "train.evaluate_every=40", f"gradient={table}", OUTER]
    texts += ["train.checkpoint_every=120", "augment={use = 'models.py:paced'}"]
    return [part for text in (*texts, *more) for part in ("--set", text)]


class Command:
    """A command in a process of its own, and what it says."""

    def __init__(self, log, *arguments):
        environment = os.environ | {"XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false", "PYTHONPATH": os.getcwd()}
        command = [sys.executable, "-m", "optchain", *map(str, arguments)]
        self.log = log
        with log.open("w") as file:
            self.process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)

    @property
    def said(self):
        return self.log.read_text()

    def wait_for(self, found, seconds=60):
        """Until something is there."""
        until = time.monotonic() + seconds
        while not found():
            if time.monotonic() > until or self.process.poll() is not None:
                raise AssertionError(f"ended, or too late:\n{self.said}")
            time.sleep(0.02)

    def ended(self, seconds=60):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"did not end:\n{self.said}") from None


@pytest.fixture
def commands(tmp_path):
    """Starts commands, which end with the test."""
    started = []

    def start(name, *arguments):
        started.append(Command(tmp_path / f"{name}.log", *arguments))
        return started[-1]

    yield start
    for command in started:
        command.process.kill()
        command.process.wait()


class Project:
    """A project whose steps each take as many seconds as a file says, so that a run does not end too soon."""

    def __init__(self, folder):
        self.path, self.models, self.file = smooth_project.write(folder), folder / "models.py", folder / "pace"
        self.models.write_text(self.models.read_text() + PACED)
        self.pace(0.002)

    def pace(self, seconds):
        part = self.file.with_suffix(".part")
        part.write_text(str(seconds))
        part.replace(self.file)


def steps_of(out):
    """How many steps the run has logged."""
    path = out / "metrics.jsonl"
    return sum("loss" in row for row in logs.read(path)) if path.exists() else 0


def require_all_steps(out, steps):
    """Each step is there once, made of one piece; the last evaluation counts all examples."""
    rows = [row for row in logs.read(out / "metrics.jsonl") if "loss" in row]
    assert [row["step"] for row in rows] == list(range(1, steps + 1))
    with (out / "metrics.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert int(last["step"]) == steps and int(last["examples"]) == steps * STEPS * BATCH
    assert Run(out).result["ending"] == "finished" and not (out / "server.json").exists()


def workers_of(process):
    """The processes of the workers that a command has started, but for what Python starts beside them."""
    children = psutil.Process(process.pid).children()
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


@pytest.mark.full
def test_a_killed_worker_and_a_late_one_lose_nothing(tmp_path, commands):
    project, out, steps = Project(tmp_path), tmp_path / "run", 240
    server = commands("server", "train", project.path, "--out", out, *sets(steps, workers=2))
    server.wait_for(lambda: "worker 2 joined" in server.said and steps_of(out) >= 40)
    project.pace(0.1)
    workers_of(server.process)[0].send_signal(signal.SIGKILL)
    server.wait_for(lambda: "a worker process has ended with signal 9" in server.said)
    late = commands("late", "join", out)
    late.wait_for(lambda: "joined" in late.said)
    project.pace(0.002)
    assert server.ended() == 0, server.said
    assert late.ended() == 0, late.said
    require_all_steps(out, steps)
    assert "worker 3 joined after step" in server.said and "the run has ended; " in late.said
    assert 0 < int(late.said.split("ended; ")[1].split()[0]) < steps
    gone = [line for line in server.said.splitlines() if "is gone" in line]
    assert len(gone) == 1 and gone[0].endswith("its 10 steps are given to another one")
    assert {row["workers"] for row in logs.read(out / "metrics.jsonl") if "loss" in row} >= {1, 2}
    for command in (["evaluate", out], ["report", out, "--out", tmp_path / "report.html"]):
        assert main([str(part) for part in command]) == 0
    page = (tmp_path / "report.html").read_text()
    assert "staleness" in page and "workers" in page


@pytest.mark.full
def test_a_server_that_is_killed_goes_on_with_the_same_worker(tmp_path, commands):
    project, out, steps = Project(tmp_path), tmp_path / "run", 300
    arguments = ["train", project.path, "--out", out, *sets(steps, workers=0)]
    first = commands("first", *arguments)
    first.wait_for(lambda: (out / "server.json").exists())
    worker = commands("worker", "join", out)
    first.wait_for(lambda: steps_of(out) >= 160)
    first.process.kill()
    worker.wait_for(lambda: "waiting for it for 60 s" in worker.said)
    project.pace(0)
    second = commands("second", *arguments, "--resume")
    assert second.ended() == 0, second.said
    assert worker.ended() == 0, worker.said
    assert "joined after step 120" in second.said and worker.said.count(f"joined {out}") == 2
    assert f"joined {out} again" in worker.said and "the run has ended; " in worker.said
    require_all_steps(out, steps)


@pytest.mark.full
def test_who_computes_something_else_or_finds_no_server_is_refused(tmp_path, commands, capsys):
    project, out = Project(tmp_path), tmp_path / "run"
    server = commands("server", "train", project.path, "--out", out, *sets(1000, workers=0))
    server.wait_for(lambda: (out / "server.json").exists())
    project.models.write_text(project.models.read_text().replace("nn.Dense(32,", "nn.Dense(24,"))
    other = commands("other", "join", out)
    assert other.ended() == 2
    expected = "the worker's parameters: 'BatchNorm_0/bias' is float32[24]; expected float32[32]"
    assert expected in other.said and expected in server.said
    server.process.terminate()
    assert server.ended() == 128 + signal.SIGTERM and "stopped at step 0, saved" in server.said
    assert main(["join", str(out), "--wait", "0"]) == 5
    assert "no server of" in capsys.readouterr().err


def test_runs_that_cannot_have_workers_are_refused(tmp_path, capsys):
    project = str(Project(tmp_path).path)
    plain = ["--set", "train.steps=1", "--set", "optimizer={lr = {use = 'sgd', learning_rate = 0.1}}"]
    assert main(["train", project, "--out", str(tmp_path / "plain"), *plain]) == 0
    assert main(["join", str(tmp_path / "plain")]) == 2
    assert "holds a run without workers" in capsys.readouterr().err
    for more, expected in (
        (["mesh={data = 1}"], "gradient.use: got 'workers' and a table [mesh]"),
        (["train.batch={use = 'random', sizes = [8, 16], micro = 8}"], "train.batch: got 8 to 16"),
        (["gradient.local.lr.learning_rate=-1.0"], "gradient.local, the optimizer of a worker: "),
        (["gradient.local.lr.use='sgdd'"], "gradient.local, the optimizer of a worker: "),
        (["gradient.listen='here'"], "gradient.listen"),
        (["optimizer={combine = {use = 'client_mean'}}"], "combines the gradients of clients"),
        (["train.batch=1000000"], "train.batch"),
    ):
        assert main(["train", project, "--out", str(tmp_path / "run"), *sets(10, 1, *more)]) == 2, more
        assert expected in capsys.readouterr().err
    assert main(["train", project, "--out", str(tmp_path / "run"), *sets(10, 1), "--profile"]) == 2
    assert "--profile" in capsys.readouterr().err
    study = tmp_path / "study.toml"
    space = "space.'gradient.local_steps' = {use = 'int', low = 1, high = 2}"
    study.write_text("\n".join(["search = {trials = 2}", space, Path(project).read_text()]))
    for command in (["tune", str(study), "--out", str(tmp_path / "study")], ["find-lr", project]):
        assert main([*command, *sets(10, 1)]) == 2
        assert "'workers' train in processes of their own" in capsys.readouterr().err
    assert not (tmp_path / "study").exists()
