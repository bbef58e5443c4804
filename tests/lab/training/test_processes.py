"""Several processes that train one run: its curve, killed processes, and going on with another number of them."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import closing

import pytest
import smooth_project

from optchain.lab.base.processes import LOST
from optchain.lab.commands.main import main

SETS = [
    "train.steps=60",
    "train.evaluate_every=10",
    "optimizer={adamw = {use = 'adamw', learning_rate = 1e-3}, average = {use = 'average_params', decay = 0.9}}",
]


def port():
    """One that is free."""
    with closing(socket.socket()) as listening:
        listening.bind(("localhost", 0))
        return listening.getsockname()[1]


def sets(*more):
    return [part for text in (*SETS, *more) for part in ("--set", text)]


def start(project, out, mesh, number, devices=1, more=()):
    """So many processes, each with so many devices."""
    flags = f"--xla_force_host_platform_device_count={devices} --xla_cpu_use_fusion_emitters=false"
    environment = os.environ | {"XLA_FLAGS": flags, "PYTHONPATH": os.getcwd()}
    at = f"localhost:{port()}"

    def one(i):
        own = ["--processes", str(number), "--process", str(i), "--coordinator", at]
        command = [sys.executable, "-m", "optchain", "train", str(project), "--out", str(out), *own]
        with (out.parent / f"{out.name}.{i}.log").open("w") as log:
            return subprocess.Popen([*command, *sets(f"mesh={mesh}"), *more], stdout=log, stderr=log, env=environment)

    return [one(i) for i in range(number)]


def ended(processes, out, seconds=300):
    """The exit codes; a process that does not end is an error that shows what all said."""
    try:
        return [process.wait(seconds) for process in processes]
    except subprocess.TimeoutExpired:
        raise AssertionError(f"did not end:\n{''.join(said(out, i)[-2000:] for i in range(len(processes)))}") from None
    finally:
        killed(processes)


def killed(processes):
    for process in processes:
        process.kill()
        process.wait()


def said(out, i):
    return (out.parent / f"{out.name}.{i}.log").read_text()


def wait_for_step(processes, out, step, seconds=200):
    """Until the run has logged a step."""
    until, path = time.monotonic() + seconds, out / "metrics.jsonl"
    while not path.exists() or len(path.read_text().splitlines()) < step:
        if time.monotonic() > until or any(process.poll() is not None for process in processes):
            killed(processes)
            raise AssertionError(f"no step {step}:\n{said(out, 0)}\n{said(out, 1)}")
        time.sleep(0.02)


@pytest.fixture
def alone(tmp_path):
    """A project, and its run by one process on one device."""
    project = smooth_project.write(tmp_path)
    assert main(["train", str(project), "--out", str(tmp_path / "alone"), *sets()]) == 0
    return project, tmp_path / "alone"


@pytest.mark.full
def test_two_processes_train_one_run_and_a_killed_one_ends_both(alone, tmp_path):
    """The first says that it lost the second, and ends; others make the whole run, which is that of one device."""
    project, expected = alone
    out = tmp_path / "two"
    mesh = "{data = 2, zero1 = true}"
    both = start(project, out, mesh, 2, more=["--set", "train.steps=100000"])
    wait_for_step(both, out, 40)
    both[1].send_signal(signal.SIGKILL)
    codes = ended(both, out)
    assert codes[1] == -signal.SIGKILL and codes[0] in (LOST, -signal.SIGABRT), said(out, 0)
    if codes[0] == LOST:
        assert "process 0 has lost another one" in said(out, 0) and "--resume" in said(out, 0)
    out = tmp_path / "again"
    assert ended(start(project, out, mesh, 2), out) == [0, 0], said(out, 0) + said(out, 1)
    smooth_project.require_same_curve(out, expected)


@pytest.mark.slow
def test_other_numbers_of_processes_go_on_with_a_run(alone, tmp_path):
    """One, two, and one process with two devices: the curve is that of one device."""
    project, expected = alone
    out = tmp_path / "moving"
    assert main(["train", str(project), "--out", str(out), *sets("train.steps=20")]) == 0
    resume = ["--resume", "--set", "train.steps=40"]
    assert ended(start(project, out, "{data = 1, fsdp = 2}", 2, more=resume), out) == [0, 0], said(out, 0)
    assert main(["train", str(project), "--out", str(out), "--resume", *sets("mesh={data = 2}")]) == 0
    smooth_project.require_same_curve(out, expected)


@pytest.mark.slow
def test_five_kills_of_either_process_change_nothing(alone, tmp_path):
    """Killed with -9 at different steps and started again with --resume: bit for bit the run that nothing stopped."""
    project, _ = alone
    whole, out, mesh = tmp_path / "whole", tmp_path / "killed", "{data = 2, zero1 = true}"
    steps = ["--set", "train.steps=600", "--set", "train.evaluate_every=10"]
    assert ended(start(project, whole, mesh, 2, more=steps), whole) == [0, 0], said(whole, 0)
    for i, step in enumerate((60, 150, 240, 330, 420)):
        both = start(project, out, mesh, 2, more=[*steps, *(["--resume"] if i else [])])
        wait_for_step(both, out, step)
        both[i % 2].send_signal(signal.SIGKILL)
        assert 0 not in ended(both, out), said(out, 0) + said(out, 1)
    assert ended(start(project, out, mesh, 2, more=[*steps, "--resume"]), out) == [0, 0], said(out, 0)
    assert smooth_project.curve(out) == smooth_project.curve(whole)


@pytest.mark.slow
def test_four_processes_train_one_run(alone, tmp_path):
    project, expected = alone
    out = tmp_path / "four"
    assert ended(start(project, out, "{data = 4, fsdp = 2}", 4, devices=2), out) == [0] * 4, said(out, 0)
    smooth_project.require_same_curve(out, expected)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--process", "0"], "--process and --coordinator: got no --processes"),
        (["--processes", "two"], "--processes: got 'two'; expected a number from 1 on, or auto"),
        (["--processes", "2"], "--process: got None; expected the number of this process, from 0 to 1"),
        (["--processes", "2", "--process", "2"], "--process: got 2; expected the number of this process, from 0 to 1"),
        (
            ["--processes", "2", "--process", "1", "--coordinator", "here"],
            "--coordinator: got here; expected HOST:PORT",
        ),
        (["--processes", "auto", "--process", "1"], "expected neither, or a number of processes"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path, capsys, options, expected):
    assert main(["train", str(smooth_project.write(tmp_path)), *sets(), *options]) == 2
    assert expected in capsys.readouterr().err
