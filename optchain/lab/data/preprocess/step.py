"""What every step of the preparation is: fitted on the training rows, and then applied to any rows."""

import abc
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.positioned import blocks
from optchain.lab.settings.table import Table

Transform = Callable[[np.ndarray], np.ndarray]
Per = Literal["all", "feature"]


class Fitted(NamedTuple):
    """What a step has learned from the training rows."""

    transform: Transform  # of any rows
    kept: np.ndarray | None = None  # which of the training rows go on, bool[rows]; all where it is None


class Step(Table):
    """A step of the preparation. It sees the training rows and nothing else."""

    @abc.abstractmethod
    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        """What the step learns from inputs, float64[rows, ...], and targets; a missing value is NaN.

        Raises:
            InputError: the step does not apply to such inputs.
        """

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        """What the step learns from the inputs of a stream in one pass; `fit` learns the same where both are possible.

        Args:
            blocks: the inputs in their order, some rows at a time, float64[rows, ...]; a missing value is NaN.

        Raises:
            InputError: the step needs all rows at once, or does not apply to such inputs.
        """
        use = getattr(self, "use", type(self).__name__)
        raise InputError(
            f"{use!r} needs all training rows at once, and the task is a stream; expected one of "
            "'standardize', 'min_max', 'one_hot', 'impute' by the mean, a filter, a function of rows; or data in memory"
        )


class RowByRow(Step):
    """A step that changes each row by itself and learns nothing but the shape of one."""

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        return self.fit(next(blocks), np.empty(0))


def cut(inputs: np.ndarray) -> Iterator[np.ndarray]:
    """The rows in blocks: those that a pass over a stream of them has."""
    for numbers in blocks(len(inputs), 8 * inputs[:1].size):
        yield inputs[numbers[0] : numbers[-1] + 1]


def flat(inputs: np.ndarray) -> np.ndarray:
    """The rows as vectors of features."""
    return inputs.reshape(len(inputs), -1)


def columns(inputs: np.ndarray, per: Per) -> np.ndarray:
    """What shares statistics as a column: the values of one feature, or those of all."""
    return inputs.reshape(-1, 1) if per == "all" else flat(inputs)


def missing(inputs: np.ndarray) -> np.ndarray:
    """Which rows miss a value."""
    return np.asarray(np.isnan(flat(inputs)).any(axis=1))


def require_complete(inputs: np.ndarray) -> None:
    """No value is missing, or an error says which step to put first."""
    count = int(missing(inputs).sum())
    if count:
        raise InputError(f"{count} of {len(inputs)} rows miss values; expected use = 'impute' in a step before")
