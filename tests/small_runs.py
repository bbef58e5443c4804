"""Small configurations, and runs of the command line in a process of their own."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from optchain.lab.runs import config
from optchain.lab.runs import run as runs
from optchain.lab.training.experiment import Experiment, build
from optchain.lab.training.program import Program
from optchain.lab.training.train import Trainer

ROOT = Path(__file__).parents[1]

SMALL = """
[task]
use = "experiments.tasks.circles:circles"
validation = 200
test = 200

[model]
hidden = [10]
dropout = 0.1
norm = "batch"

[train]
steps = {steps}
batch = 32
evaluate_every = {every}
log_every = 5

[optimizer]
watch = true

[optimizer.adam]
use = "scale_by_adam"

[optimizer.lr]
use = "cosine"
start = 1e-2
steps = 300

[optimizer.average]
use = "average_params"
decay = 0.9
"""


def small(folder: Path, steps: int = 60, every: int = 20) -> Path:
    """The file of a small configuration: 600 examples in batches of 32, so that no chunk ends with an epoch."""
    path = folder / "small.toml"
    path.write_text(SMALL.format(steps=steps, every=every))
    return path


def start(*arguments: object) -> subprocess.Popen:
    """Start the command line from the repository's root."""
    return subprocess.Popen(
        [sys.executable, "-m", "optchain", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"COLUMNS": "120"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: object) -> subprocess.CompletedProcess:
    """Run the command line to its end."""
    process = start(*arguments)
    out, err = process.communicate(timeout=120)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def saved(folder: Path) -> list[int]:
    """The steps whose checkpoints are complete; one that is being written has another name."""
    return sorted(int(path.name) for path in (folder / "checkpoints").iterdir() if path.name.isdigit())


def wait_for(folder: Path, step: int, process: subprocess.Popen) -> None:
    """Wait until a checkpoint of a step is complete; the run goes on meanwhile."""
    deadline = time.monotonic() + 90
    while not (folder / "checkpoints").is_dir() or max(saved(folder), default=0) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.01)


PROGRAMS: dict[str, Program] = {}


def shared_program(built: Experiment) -> Program:
    """The program of an experiment, the same for all in this process that are of one task, network and chain.

    Compiling is most of what a small run takes. Of the table `train` only the batches and what is frozen are
    compiled, and the seed is an argument.
    """
    found = built.config.model_dump()
    found |= {"callbacks": {}, "trackers": {}}
    found["train"] = {name: found["train"][name] for name in ("batch", "sampling", "freeze", "compute", "remat")}
    key = json.dumps(found, default=str)
    if key not in PROGRAMS:
        PROGRAMS[key] = Program(built)
    return PROGRAMS[key]


def train(parent: Path, *sets: str, folder: str = "run") -> Trainer:
    """Train the small configuration with overrides to its end, in this process."""
    resolved = config.load(small(parent), list(sets))
    opened = runs.create(parent / folder, resolved, "the command", overwrite=False)
    built = build(resolved, "small.toml")
    trainer = Trainer(built, opened, program=shared_program(built))
    assert trainer.train() is None
    return trainer
