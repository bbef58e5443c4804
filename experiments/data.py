"""Examples: splits that are fixed by their own seed, and standardization that sees the training examples only."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.model_selection import KFold, StratifiedKFold, train_test_split
from sklearn.preprocessing import StandardScaler

from experiments import tables
from experiments.errors import InputError

Split = tuple[np.ndarray, np.ndarray]  # inputs and targets, one row for each example


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
    prepare: Callable[[np.ndarray], np.ndarray]  # from raw rows of features to the network's inputs
    features: int  # in a raw row
    ids: int | None = None  # that the inputs are numbers of, where a table has a row for each
    optimum: float | None = None  # the lowest possible training loss, where it is known

    def held_out(self, name: str) -> str:
        """The split to evaluate on: the one of that name, or the training examples where it is empty."""
        return name if name in self.splits else "train"


def split(
    inputs: np.ndarray, targets: np.ndarray, table: tables.Task, stratify: bool
) -> tuple[dict[str, Split], dict[str, np.ndarray]]:
    """The examples of each split, and their rows. The test split depends on the seed and its own size only."""
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
    rows = {"train": rest, **{name: rows[name] for name in ("validation", "test") if name in rows}}
    return {name: (inputs[at], targets[at]) for name, at in rows.items()}, rows


def _fold(rows: np.ndarray, targets: np.ndarray, table: tables.Task, stratify: bool) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are trained on and those that validate, when the rows are cut into parts of the same size."""
    kind = StratifiedKFold if stratify else KFold
    try:
        cuts = list(kind(table.folds, shuffle=True, random_state=table.seed).split(rows, targets[rows]))
    except ValueError as error:
        raise InputError(f"task.folds: {table.folds} of {len(rows)} examples: {error}") from None
    train, validation = cuts[table.fold or 0]
    return rows[train], rows[validation]


def standardizer(train: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Subtracts the mean of the training examples and divides by their standard deviation, feature by feature."""
    scaler = StandardScaler().fit(train)
    return lambda inputs: np.asarray(scaler.transform(inputs), np.float32)
