"""What a run's folder knows of its task, so that a report needs neither the data nor the code."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any, Self

import jax
import numpy as np

from optchain.lab.data.task import Task
from optchain.lab.runs.run import Run

SHARES = ("accuracy", "top_k")  # metrics that are shares of the examples


@dataclasses.dataclass(frozen=True)
class Facts:
    """Of a task."""

    examples: dict[str, int]  # in each split
    metrics: dict[str, str]  # by name, what each is
    optimum: float | None = None  # the lowest possible training loss, where it is known
    inputs: int | None = None  # numbers of an example
    outputs: int | None = None  # that a model answers with
    rarest: float | None = None  # the share of the training examples that are of the rarest class, if they have one

    @classmethod
    def of(cls, task: Task) -> Self:
        """The facts of a task and its metrics."""
        uses = {name: "loss" if metric.table is None else metric.table.use for name, metric in task.metrics.items()}
        sizes = {name: part.size for name, part in task.splits.items()} | {"train": task.size}
        inputs = sum(math.prod(x.shape[1:]) for x in jax.tree.leaves(task.splits["train"].inputs))
        outputs = sum(task.outputs.values()) if isinstance(task.outputs, dict) else task.outputs
        return cls(sizes, uses, task.optimum, inputs, outputs, _rarest(task))

    @property
    def shown(self) -> str | None:
        """The metric that is shown beside the loss."""
        return next(iter(self.metrics), None)

    def is_share(self, name: str) -> bool:
        """Whether a metric is a share of the examples, which is told in percent."""
        return self.metrics.get(name) in SHARES

    def held_out(self, name: str) -> str:
        """The split to evaluate on: the one of that name, or the training examples where it is empty."""
        return name if name in self.examples else "train"

    def write(self, run: Run) -> None:
        """Write them into a run's folder."""
        run.write("task.json", dataclasses.asdict(self))


def _rarest(task: Task) -> float | None:
    targets = task.splits["train"].targets
    if task.classes is None or not isinstance(targets, np.ndarray) or targets.ndim > 1:
        return None
    return float(np.bincount(targets, minlength=task.classes).min() / len(targets))


def facts(run: Run) -> Facts | None:
    """The facts that are written in a run's folder, if any."""
    path = run.folder / "task.json"
    return Facts(**json.loads(path.read_text())) if path.is_file() else None


def named(task: Any) -> str:
    """The task as a title names it: a data set or a file, or the object of the user's."""
    use = str(task.use).rpartition(":")[2]
    told = [str(x) for name in ("data", "path") if (x := task.model_dump().get(name)) is not None]
    return " ".join([use, *(Path(x).name for x in told)])
