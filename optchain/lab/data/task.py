"""Examples: splits that are fixed by their own seed, and a preparation that is fitted on the training examples."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.step import Step
from optchain.lab.settings import tables

Split = tuple[np.ndarray, np.ndarray]  # inputs and targets, one row for each example


def mean_output(outputs: Any) -> Any:
    """What several models answer together: the mean of their outputs, one along the first axis."""
    return outputs.mean(0)


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned: examples, and what counts.

    `loss` and `metric` give one number for each example, from the network's outputs and the targets.
    """

    splits: dict[str, Split]  # "train", and "validation" and "test" unless they are empty
    rows: dict[str, np.ndarray]  # of each split, in the data set as it is before the split
    outputs: int
    loss: Callable[..., Any]
    metric: Callable[..., Any]
    metric_name: str
    metric_sign: int = dataclasses.field(default=-1, kw_only=True)  # -1 where a higher metric is better, else 1
    answer: Callable[[Any], dict[str, np.ndarray]]  # columns to show for the network's outputs
    shape: tuple[int, ...]  # of a raw example: that of images, or the number of features
    # that prepare raw inputs where the configuration names none; None if the inputs are what no step applies to
    steps: dict[str, Step] | None = None
    prepare: Callable[[np.ndarray], np.ndarray] = np.asarray  # from raw rows of features to the network's inputs
    imputes: bool = False  # whether raw rows may miss values
    together: Callable[[Any], Any] = mean_output  # what several models answer, by their outputs
    classes: int | None = None  # of which the targets are numbers, where the loss is a cross entropy of classes
    ids: int | None = None  # that the inputs are numbers of, where a table has a row for each
    optimum: float | None = None  # the lowest possible training loss, where it is known

    @property
    def features(self) -> int:
        """In a raw row."""
        return math.prod(self.shape)

    def held_out(self, name: str) -> str:
        """The split to evaluate on: the one of that name, or the training examples where it is empty."""
        return name if name in self.splits else "train"


def split(
    inputs: np.ndarray, targets: np.ndarray, table: tables.Task, stratify: bool
) -> tuple[dict[str, Split], dict[str, np.ndarray]]:
    """The examples of each split, and their rows. The test split depends on the seed and its own size only.

    Raises:
        InputError: there are too few examples, or the targets of those for training are all the same.
    """
    rest, rows = np.arange(len(inputs)), {}
    for name in ("test", "validation"):
        held = getattr(table, name)
        if name == "validation" and table.folds:
            rest, rows[name] = _fold(rest, targets, table, stratify)
        elif held:
            labels = targets[rest] if stratify else None
            try:
                rest, rows[name] = train_test_split(rest, test_size=held, random_state=table.seed, stratify=labels)
            except ValueError as error:
                raise InputError(f"task.{name}: {held} of {len(inputs)} examples: {error}") from None
    require_varied(targets[rest])
    rows = {"train": rest, **{name: rows[name] for name in ("validation", "test") if name in rows}}
    return {name: (inputs[at], targets[at]) for name, at in rows.items()}, rows


def require_varied(targets: np.ndarray) -> None:
    """The targets of the training examples differ.

    Raises:
        InputError: there is nothing to learn from them.
    """
    if targets.size and np.all(targets == targets.flat[0]):
        one = "there is one training example, with"
        there = one if len(targets) == 1 else f"all {len(targets)} training examples have"
        cure = "hold out fewer examples, or check the targets"
        raise InputError(f"task: {there} the target {targets.flat[0]}, so there is nothing to learn; {cure}")


def _fold(rows: np.ndarray, targets: np.ndarray, table: tables.Task, stratify: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are trained on and those that validate, when the rows are cut into parts of the same size."""
    kind = StratifiedKFold if stratify else KFold
    try:
        cuts = list(kind(table.folds, shuffle=True, random_state=table.seed).split(rows, targets[rows]))
    except ValueError as error:
        raise InputError(f"task.folds: {table.folds} of {len(rows)} examples: {error}") from None
    train, validation = cuts[table.fold or 0]
    return rows[train], rows[validation]


def prepared(task: Task, steps: dict[str, Step] | None) -> Task:
    """A task with raw inputs, and its inputs as steps prepare them.

    Args:
        task: the task after the split.
        steps: in their order; None for the task's own.

    Raises:
        InputError: a step does not apply, or leaves training examples whose targets are all the same.
    """
    if task.steps is None:
        if steps is not None:
            raise InputError("preprocess: the inputs of this task are bytes or ids, to which no step applies")
        return task
    chosen = task.steps if steps is None else steps
    train, targets = task.splits["train"]
    fitted = preprocess.fit(chosen, train, targets)
    require_varied(targets[fitted.kept])
    splits = {"train": (fitted.inputs, targets[fitted.kept])}
    for name, (inputs, targets) in task.splits.items():
        if name != "train":
            try:
                splits[name] = fitted.transform(inputs), targets
            except InputError as error:
                raise InputError(f"{error} (the {name} examples)") from None
    return dataclasses.replace(
        task,
        splits=splits,
        rows=task.rows | {"train": task.rows["train"][fitted.kept]},
        prepare=lambda rows: fitted.transform(rows.reshape(-1, *task.shape)),
        imputes=any(isinstance(step, Impute) for step in chosen.values()),
        optimum=task.optimum if steps is None else None,  # known of the inputs as the task has them
    )
