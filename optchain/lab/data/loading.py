"""Examples made ready: read, split, numbered and prepared by what is fitted on the training examples."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.examples import Examples, Source
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.split import require_varied, split
from optchain.lab.data.tables import TaskTable
from optchain.lab.data.task import Scale, Split, Task
from optchain.lab.settings.own import Own


def examples_of(table: TaskTable) -> Examples:
    """The examples that a table of the configuration describes.

    Raises:
        InputError: what the table describes cannot be read, or is nothing of ours.
    """
    made: Any = table.build() if isinstance(table, Own) else table
    use = getattr(table, "use", type(table).__name__)
    examples = made.load() if isinstance(made, Source) else made
    if isinstance(examples, tuple) and len(examples) == 2:
        examples = Examples(*examples)
    if not isinstance(examples, Examples):
        expected = "Examples, a pair of inputs and targets, or an object whose load() gives them"
        raise InputError(f"task.use: {use} gives {type(examples).__name__}; expected {expected}")
    if not len(examples):
        raise InputError(f"task.use: {use} gives no example")
    return examples


def made(
    examples: Examples, table: TaskTable, steps: dict[str, Step] | None = None, of_classes: bool | None = None
) -> Task:
    """The task that examples make.

    Args:
        examples: read already.
        table: the table `[task]`.
        steps: that prepare the inputs, in their order; None for the data's own.
        of_classes: whether the loss takes classes; by the data if left out.

    Raises:
        InputError: the data cannot be split, or a step does not apply.
    """
    targets, labels = _numbered(examples, are_classes(examples) if of_classes is None else of_classes)
    rows = split(examples, targets, table, stratify=examples.stratify and labels is not None and targets.ndim == 1)
    require_varied(jax.tree.map(lambda x: x[rows["train"]], targets), examples, rows["train"])
    scale = None
    if examples.scale and labels is None:
        training = targets[rows["train"]]
        deviation = training.std(0)
        scale = Scale(training.mean(0), np.where(deviation > 0, deviation, 1.0))
        targets = (targets - scale.mean) / scale.deviation
    raw = Task(
        splits={name: _taken(examples, targets, at) for name, at in rows.items()},
        rows=rows,
        labels=labels,
        outputs=examples.outputs if examples.outputs is not None else _outputs(targets, labels),
        shape=examples.inputs.shape[1:] if isinstance(examples.inputs, np.ndarray) else None,
        prepare=_as_they_are,
        read=examples.read,
        scale=scale,
        ids=examples.ids,
        names=examples.names,
    )
    return _prepared(raw, examples, steps)


def are_classes(examples: Examples) -> bool:
    """Whether the targets are classes: strings, booleans or whole numbers, or numbers of labels."""
    return examples.labels is not None or np.asarray(examples.targets).dtype.kind in "OSUbiu"


def _numbered(examples: Examples, of_classes: bool) -> tuple[Any, Sequence[Any] | None]:
    """The targets as a network is told them, and the labels of their classes."""
    if isinstance(examples.targets, dict):
        return jax.tree.map(_narrow, examples.targets), None
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
    return _narrow(targets), None


def _narrow(numbers: Any) -> np.ndarray:
    """Numbers in 32 bits, but bytes of images, which stay small until they are prepared."""
    numbers = np.asarray(numbers)
    if numbers.dtype.kind == "f":
        return numbers.astype(np.float32)
    return numbers.astype(np.int32) if numbers.dtype.kind in "iu" else numbers


def _outputs(targets: Any, labels: Sequence[Any] | None) -> int | None:
    """Numbers that a model answers with: of two classes one, the logit of the second."""
    if labels is not None:
        return 1 if len(labels) == 2 else len(labels)
    if isinstance(targets, dict):
        return None
    return 1 if targets.ndim == 1 else targets.shape[-1]


def _taken(examples: Examples, targets: Any, rows: np.ndarray) -> Split:
    weights = examples.weights
    return Split(
        jax.tree.map(lambda x: x[rows], examples.inputs),
        jax.tree.map(lambda x: x[rows] if x.dtype.kind != "f" else x[rows].astype(np.float32), targets),
        None if weights is None else np.asarray(weights, np.float32)[rows] / np.float32(np.mean(weights)),
    )


def _as_they_are(inputs: Any) -> Any:
    return jax.tree.map(_narrow, inputs)


def _whole_numbers(ids: int | None, shape: tuple[int, ...]) -> Callable[[Any], np.ndarray]:
    """What makes whole numbers of raw rows: of ids or bytes, of which there may be so many."""
    most = np.iinfo(np.int32).max if ids is None else ids - 1

    def prepare(rows: Any) -> np.ndarray:
        rows = np.asarray(rows).reshape(-1, *shape)
        wrong = rows[(rows != np.round(rows)) | (rows < 0) | (rows > most)]
        if wrong.size:
            raise InputError(f"the inputs are whole numbers from 0 to {most}; got {wrong[0]:g}")
        return rows.astype(np.int32)

    return prepare


@contextlib.contextmanager
def _placed(examples: Examples, rows: np.ndarray) -> Iterator[None]:
    """Errors within name the row, and the column if the data have no number there, as the user knows them."""
    try:
        yield
    except preprocess.NotFinite as error:
        row, names = int(rows[error.row]), list(examples.columns)
        raw = np.flatnonzero(~np.isfinite(examples.inputs[row].reshape(-1)))
        coded = [i for step in examples.first.values() for i in getattr(step, "features", [])]
        raw = np.setdiff1d(raw, coded)  # where a category is missing there is none
        if not len(raw):
            what = f"feature {error.feature + 1}, as the steps make it, of {examples.place(row)}"
            raise InputError(f"preprocess: {what} is not finite") from None
        what = f"column {names[raw[0]]!r}" if names else f"feature {raw[0] + 1}"
        raise InputError(f"{what} of {examples.place(row)} is missing or not finite; {preprocess.CURE}") from None


def _prepared(task: Task, examples: Examples, steps: dict[str, Step] | None) -> Task:
    """A task with raw inputs, and its inputs as the steps prepare them."""
    one = isinstance(examples.inputs, np.ndarray)
    whole = one and examples.inputs.dtype.kind in "iub" and not examples.steps
    if not one or examples.steps is None or (whole and steps is None):
        if steps:
            what = (
                "bytes or ids, to which no step applies" if whole or task.shape else "several arrays; a step takes one"
            )
            raise InputError(f"preprocess: the inputs of this task are {what}")
        splits = {name: part._replace(inputs=_as_they_are(part.inputs)) for name, part in task.splits.items()}
        prepare = _whole_numbers(examples.ids, task.shape or ()) if whole else _as_they_are
        return dataclasses.replace(task, splits=splits, prepare=prepare)
    chosen = examples.first | (examples.steps if steps is None else steps)
    train, rows = task.splits["train"], task.rows["train"]
    with _placed(examples, rows):
        fitted = preprocess.fit(chosen, train.inputs, train.targets)
    kept = jax.tree.map(lambda x: x[fitted.kept], train._replace(inputs=()))
    require_varied(kept.targets, examples, rows[fitted.kept])
    splits = {"train": kept._replace(inputs=fitted.inputs)}
    for name, part in task.splits.items():
        if name != "train":
            try:
                with _placed(examples, task.rows[name]):
                    splits[name] = part._replace(inputs=fitted.transform(part.inputs))
            except InputError as error:
                raise InputError(f"{error} (the {name} examples)") from None
    optimum = None  # known of the inputs as the data have them
    if examples.optimum is not None and steps is None:
        optimum = examples.optimum(splits["train"].inputs, splits["train"].targets)
    shape = task.shape or ()
    return dataclasses.replace(
        task,
        splits=splits,
        rows=task.rows | {"train": task.rows["train"][fitted.kept]},
        prepare=lambda rows: fitted.transform(np.asarray(rows).reshape(-1, *shape)),
        imputes=any(isinstance(step, Impute) for step in chosen.values()),
        optimum=optimum,
    )
