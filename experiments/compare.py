"""A comparison of optimizers: each is tuned over its grid, and its best point run anew with fresh seeds."""

import csv
import dataclasses
import functools
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments import run, tables
from experiments.errors import InputError
from experiments.evaluate import scores_of
from experiments.experiment import Experiment, build
from experiments.program import Program
from experiments.progress import Quiet
from experiments.run import Run
from experiments.signals import Interrupted
from experiments.tables import Comparison
from experiments.train import Trainer


@dataclasses.dataclass(frozen=True)
class Trial:
    """One run of a comparison, at a point of an optimizer's grid."""

    optimizer: str
    point: dict[str, float]
    seed: int
    tuning: bool  # or with a fresh seed, at the best point
    run: Run

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """How it ended; read once, for a table of all trials is written after each."""
        return self.run.result or {}

    @property
    def diverged(self) -> bool:
        """Whether the loss became infinite or no number."""
        return self.result["ending"] == "diverged"

    def score(self, split: str, name: str = "loss") -> float:
        """A mean over a split at the end of the run; NaN if it was not scored there, as after it diverged."""
        return self.scores(split).get(name, math.nan)

    def scores(self, split: str) -> dict[str, float]:
        """The loss and the task's metric on a split, of the run's average where the chain keeps one."""
        return scores_of(self.result, split)

    @property
    def place(self) -> str:
        """The point in words."""
        return " ".join(f"{key}={value:g}" for key, value in self.point.items())

    def __str__(self) -> str:
        purpose = "tuning" if self.tuning else f"fresh seed {self.seed}"
        return f"{self.optimizer}  {self.place}  {purpose}  " + (
            "diverged" if self.diverged else f"validation loss {self.score('validation'):.4f}"
        )

    def row(self) -> dict[str, Any]:
        """What the table of trials says of it."""
        return {
            "optimizer": self.optimizer,
            "point": self.place,
            "seed": self.seed,
            "purpose": "tuning" if self.tuning else "fresh",
            "ending": self.result["ending"],
            "step": self.result["step"],
            "validation_loss": self.score("validation"),
            "test_loss": self.score("test"),
            **{f"{name}_seconds": seconds for name, seconds in self.result["seconds"].items()},
            "folder": str(self.run.folder),
        }


def build_all(comparison: Comparison, source: str) -> dict[str, Experiment]:
    """The experiment of each optimizer, at the first point of its grid.

    Raises:
        InputError: an optimizer that cannot be built.
    """
    return {
        name: build(comparison.config(name, contender.points[0], comparison.train.seed), f"{source}: optimizers.{name}")
        for name, contender in comparison.optimizers.items()
    }


def trials(comparison: Comparison, built: dict[str, Experiment], folder: Path, command: str) -> Iterator[Trial]:
    """Run what has not been run yet, and give every trial as soon as it has ended.

    All runs of one optimizer share what is compiled. The best point has the lowest validation loss at the end of its
    run; the test examples are scored by the runs with fresh seeds only.

    Raises:
        InputError: a folder with a run of another configuration.
        Interrupted: a signal came.
    """
    for name, contender in comparison.optimizers.items():
        runner = Runner(comparison, name, built[name], folder, command)
        tuned = []
        for point in contender.points:
            tuned.append(runner.trial(point, comparison.train.seed, tuning=True))
            yield tuned[-1]
        finished = [trial for trial in tuned if not trial.diverged]
        if finished:
            best = min(finished, key=lambda trial: trial.score("validation"))
            for seed in range(comparison.train.seed + 1, comparison.train.seed + 1 + comparison.seeds):
                yield runner.trial(best.point, seed, tuning=False)


class Runner:
    """Runs the trials of one optimizer."""

    def __init__(self, comparison: Comparison, name: str, experiment: Experiment, folder: Path, command: str) -> None:
        self.comparison, self.name, self.experiment, self.folder = comparison, name, experiment, folder
        self.command = command
        self.program: Program | None = None  # until there is something to run

    def trial(self, point: dict[str, float], seed: int, tuning: bool) -> Trial:
        """The trial at a point, from its folder if it has been run already."""
        resolved = self.comparison.config(self.name, point, seed)
        label = ",".join(f"{key}={value:g}" for key, value in point.items())
        folder = self.folder / "trials" / self.name / f"{label},seed={seed}"
        found = run.opened(folder, resolved, self.command)
        if found.result is None:
            self._run(found, resolved, tuning)
        return Trial(self.name, point, seed, tuning, found)

    def _run(self, found: Run, resolved: tables.Config, tuning: bool) -> None:
        grid = self.comparison.optimizers[self.name].grid
        self.program = self.program or Program(self.experiment, [f"optimizer.{key}" for key in grid])
        experiment = self.experiment.having(resolved)
        scored = ("validation",) if tuning else ("validation", "test")
        signal = Trainer(experiment, found, program=self.program, display=Quiet(), scored=scored).train()
        if signal is not None:
            raise Interrupted(signal)


def prepare(folder: Path, comparison: Comparison, command: str, overwrite: bool) -> None:
    """Make the folder of a comparison, or take the one in which it was begun.

    Raises:
        InputError: the folder holds something else.
    """
    if folder.exists() and any(folder.iterdir()):
        if not (folder / "comparison.json").is_file():
            raise InputError(f"{folder} exists and is no comparison of ours; choose another --out")
        if overwrite:
            shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    Run(folder).describe(command)
    Run(folder).write("comparison.json", comparison.model_dump())


def write_table(found: list[Trial], path: Path) -> None:
    """Write one line for each trial as CSV."""
    rows = [trial.row() for trial in found]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
