"""Numbers as a network receives them: classes by their number, everything in 32 bits."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.stream import Stream


def are_classes(examples: Examples | Stream) -> bool:
    """Whether the targets are classes: strings, booleans or whole numbers, or numbers of labels."""
    return examples.labels is not None or np.asarray(examples.targets).dtype.kind in "OSUbiu"


def numbered(examples: Examples, of_classes: bool) -> tuple[Any, Sequence[Any] | None]:
    """The targets as a network is told them, and the labels of their classes."""
    if isinstance(examples.targets, FileArray):
        return examples.targets, examples.labels
    targets = np.asarray(examples.targets)
    if examples.labels is not None:
        return targets.astype(np.int32), examples.labels
    if of_classes:
        labels, numbers = np.unique(targets, return_inverse=True)
        if len(labels) > max(2, len(targets) // 2) and targets.dtype.kind not in "OSU":
            raise InputError(
                f"task: {len(labels)} of {len(targets)} targets differ, as those of no classes do; expected fewer, "
                "or a loss of numbers, such as [loss] use = 'squared'"
            )
        return numbers.reshape(targets.shape).astype(np.int32), labels.tolist()
    if targets.dtype.kind in "OSU":
        labels, numbers = np.unique(targets, return_inverse=True)
        return numbers.reshape(targets.shape).astype(np.int32), labels.tolist()
    return narrow(targets), None


def narrow(numbers: Any) -> np.ndarray:
    """Numbers in 32 bits, but bytes of images, which stay small until they are prepared."""
    numbers = np.asarray(numbers)
    if numbers.dtype.kind == "f":
        return numbers.astype(np.float32)
    return numbers.astype(np.int32) if numbers.dtype.kind in "iu" else numbers


def outputs_of(targets: Any, labels: Sequence[Any] | None) -> int | None:
    """Numbers that a model answers with: of two classes one, the logit of the second."""
    if labels is not None:
        return 1 if len(labels) == 2 else len(labels)
    if isinstance(targets, dict):
        return None
    return 1 if targets.ndim == 1 else targets.shape[-1]


def as_they_are(inputs: Any) -> Any:
    """Inputs that no step prepares."""
    return jax.tree.map(narrow, inputs)


def unprepared(inputs: Any, ids: int | None) -> Callable[[Any], Any]:
    """What makes inputs of a network of raw ones like these, to which no step applies.

    Args:
        inputs: some raw ones, with the rows along the first axis.
        ids: how many there are, where the inputs are ids or bytes and it is known.
    """
    if not isinstance(inputs, np.ndarray) or inputs.dtype.kind not in "iub":
        return as_they_are
    shape, most = inputs.shape[1:], np.iinfo(np.int32).max if ids is None else ids - 1

    def prepare(rows: Any) -> np.ndarray:
        rows = np.asarray(rows).reshape(-1, *shape)
        wrong = rows[(rows != np.round(rows)) | (rows < 0) | (rows > most)]
        if wrong.size:
            raise InputError(f"the inputs are whole numbers from 0 to {most}; got {wrong[0]:g}")
        return rows.astype(np.int32)

    return prepare


def is_prepared(inputs: Any, own: dict[str, Step] | None, asked: dict[str, Step] | None) -> bool:
    """Whether steps prepare the inputs.

    Args:
        inputs: some raw ones.
        own: the steps of the data; None if no step applies.
        asked: those of the configuration; None if it says nothing.

    Raises:
        InputError: the configuration has steps, and none applies.
    """
    one = isinstance(inputs, np.ndarray)
    whole = one and inputs.dtype.kind in "iub" and not own
    if one and own is not None and not (whole and asked is None):
        return True
    if asked:
        what = "bytes or ids, to which no step applies" if one else "several arrays; a step takes one"
        raise InputError(f"preprocess: the inputs of this task are {what}")
    return False
