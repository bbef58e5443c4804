"""The preparation of inputs: steps in the order of the configuration, fitted on the training rows and nothing else."""

import contextlib
import dataclasses
import operator
from collections.abc import Callable, Iterator
from typing import Annotated, Any, NamedTuple

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess import categories, distribution, filters, missing, outliers, own, scaling, selection
from optchain.lab.data.preprocess.step import Step, Transform
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Table

KINDS = (
    categories.OneHot,
    missing.Impute,
    missing.DropMissing,
    outliers.DropOutliers,
    outliers.ClipOutliers,
    filters.MedianFilter,
    filters.GaussianFilter,
    filters.Savgol,
    scaling.Standardize,
    scaling.MinMax,
    distribution.Quantile,
    distribution.Power,
    selection.Select,
)
STEPS: dict[str, type[Table]] = {kind.model_fields["use"].default: kind for kind in KINDS}  # by the name in `use`
AnyStep = Annotated[Any, Kinds("preprocess", STEPS, Table, own.given)]

CURE = "expected a step of [preprocess] with use = 'impute'"


class NotFinite(InputError):
    """A row that a network cannot take.

    Args:
        row: its number from 0.
        feature: the number of the value, from 0, after the steps.
    """

    def __init__(self, row: int, feature: int) -> None:
        super().__init__(f"feature {feature + 1} of row {row} (from 0) is missing or not finite; {CURE}")
        self.row, self.feature = row, feature


class Preparation(NamedTuple):
    """What the steps have learned, and what they made of the training rows."""

    transform: Transform  # of any other rows
    inputs: np.ndarray  # of training
    kept: np.ndarray  # indices of the training rows that are left
    steps: dict[str, Transform]  # one after the other, of any rows


def fit(steps: dict[str, Step], inputs: np.ndarray, targets: np.ndarray) -> Preparation:
    """Fit the steps one after the other, each on what those before it made of the training rows.

    Nothing but these rows is there to be seen: what is held out cannot have an influence.

    Raises:
        InputError: naming the step.
    """
    inputs, kept = np.asarray(inputs, np.float64), np.arange(len(inputs))
    transforms: dict[str, Transform] = {}
    for name, step in steps.items():
        with _named(name):
            fitted = own.fit(step, inputs, jax.tree.map(operator.itemgetter(kept), targets))
            if fitted.kept is not None:
                if not fitted.kept.any():
                    raise InputError(f"none of {len(inputs)} training rows is left")
                inputs, kept = inputs[fitted.kept], kept[fitted.kept]
            inputs, transforms[name] = fitted.transform(inputs), fitted.transform

    return Preparation(Pipeline(transforms), _finished(inputs, kept), kept, transforms)


def fit_in_blocks(steps: dict[str, Step], blocks: Callable[[], Iterator[np.ndarray]]) -> "Pipeline":
    """Fit the steps one after the other, each in a pass over the training rows of a stream.

    Args:
        steps: by their names.
        blocks: begins a pass: the rows in their order, some at a time.

    Raises:
        InputError: naming the step.
    """
    pipeline = Pipeline({})
    for name, step in steps.items():
        before = pipeline
        with _named(name):
            fitted = own.fit_in_blocks(step, (before.steps_of(rows) for rows in blocks()))
        pipeline = Pipeline({**before.steps, name: fitted.transform})
    return pipeline


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """Fitted steps, one after the other."""

    steps: dict[str, Transform]

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Rows as the network takes them."""
        return _finished(self.steps_of(rows))

    def steps_of(self, rows: np.ndarray) -> np.ndarray:
        """What the steps make of rows, float64."""
        rows = np.asarray(rows, np.float64)
        for name, step in self.steps.items():
            with _named(name):
                rows = step(rows)
        return rows


@contextlib.contextmanager
def _named(name: str) -> Iterator[None]:
    """Errors within name the step."""
    try:
        yield
    except (InputError, ValueError, TypeError, IndexError) as error:
        raise InputError(f"preprocess.{name}: {error}") from error


def _finished(rows: np.ndarray, numbers: np.ndarray | None = None) -> np.ndarray:
    """The rows as the network takes them; an error names one by its number among those before all steps."""
    lacking = np.argwhere(~np.isfinite(rows.reshape(len(rows), -1)))
    if len(lacking):
        row, feature = map(int, lacking[0])
        raise NotFinite(row if numbers is None else int(numbers[row]), feature)
    return rows.astype(np.float32)
