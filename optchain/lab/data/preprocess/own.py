"""Steps of the user's: functions of rows, functions that learn from the training rows, and objects with `fit`."""

import inspect
from collections.abc import Iterator
from typing import Any

import numpy as np
from scipy import sparse

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, Transform
from optchain.lab.data.standalone.packing import is_part
from optchain.lab.settings.own import Own


def given(target: Any) -> int | tuple[str, ...]:
    """What the lab gives to a step of the user's: to a function the inputs, and the targets if it names them."""
    return ("use",) if inspect.isclass(target) else 2 if _learns(target) else 1


def fit(step: Any, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
    """What a step has learned from the training rows.

    Args:
        step: one that is built in, an object with `fit`, or the table of what the user wrote. This is a class of
            objects with `fit(inputs, targets)`, such as those of scikit-learn; a function of rows; or a function of
            `(inputs, targets)` which gives such a function.
        inputs: float64[rows, ...].
        targets: one for each row.

    Raises:
        InputError: the step does not apply, or gives nothing of the kind.
    """
    if isinstance(step, Own):
        target = step.placed.target
        if not inspect.isclass(target):
            found = step.build(inputs, targets) if _learns(target) else lambda rows: step.build(rows)
            return _checked(found, target.__name__)
        step = step.build()
    if not hasattr(step, "fit"):
        name = type(step).__name__
        raise InputError(f"{name} has no method fit(inputs, targets); expected one, or a function of rows")
    return _checked(step.fit(inputs, targets), type(step).__name__)


def fit_in_blocks(step: Any, blocks: Iterator[np.ndarray]) -> Fitted:
    """What a step has learned in one pass over the training rows.

    Args:
        step: one that is built in, or the table of a function of rows of the user's.
        blocks: the rows, some at a time.

    Raises:
        InputError: the step needs all rows at once, or does not apply.
    """
    if isinstance(step, Own):
        target = step.placed.target
        if inspect.isclass(target) or _learns(target):
            raise InputError(f"{step.use} learns from all training rows at once, {STREAM}")
        return _checked(lambda rows: step.build(rows), target.__name__)
    if not isinstance(step, Step):
        raise InputError(f"{type(step).__name__} learns from all training rows at once, {STREAM}")
    return step.fit_in_blocks(blocks)


STREAM = "and the task is a stream; expected a function of rows, or a lab.Step with fit_in_blocks(blocks)"


def _learns(target: Any) -> bool:
    return list(inspect.signature(target).parameters)[1:2] == ["targets"]


def _checked(found: Any, name: str) -> Fitted:
    if isinstance(found, Fitted):
        if is_part(found.transform):  # of ours, which give a row for each
            return found
        return found._replace(transform=_rowwise(found.transform, name))
    transform: Any = getattr(found, "transform", found)
    if not callable(transform):
        expected = "expected lab.Fitted, an object with transform(rows), or a function of rows"
        raise InputError(f"{name} gives {type(found).__name__} when it is fitted; {expected}")
    return Fitted(_rowwise(transform, name))


def _rowwise(transform: Any, name: str) -> Transform:
    """A function of rows that gives as many."""

    def checked(rows: np.ndarray) -> np.ndarray:
        made: Any = transform(rows)
        made = made.toarray() if sparse.issparse(made) else np.asarray(made)
        if made.dtype.kind not in "biuf" or made.shape[:1] != (len(rows),):
            raise InputError(
                f"{name} gives {made.dtype}{list(made.shape)} for {len(rows)} rows; expected a row for each"
            )
        return np.asarray(made, np.float64)

    return checked
