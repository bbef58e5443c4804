"""Examples made ready: read, split, numbered and prepared by what is fitted on the training examples."""

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess, streaming
from optchain.lab.data.examples import Examples, Source
from optchain.lab.data.fitted import Kept
from optchain.lab.data.heads import numbered_heads
from optchain.lab.data.named import Named
from optchain.lab.data.numbers import are_classes, as_they_are, is_prepared, numbered, outputs_of, unprepared
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.split import require_varied, split
from optchain.lab.data.stream import Raw, Stream
from optchain.lab.data.tables import TaskTable
from optchain.lab.data.task import Head, Scale, Split, Task
from optchain.lab.settings.own import Own


def examples_of(table: TaskTable) -> Examples | Stream:
    """The examples that a table of the configuration describes.

    Raises:
        InputError: what the table describes cannot be read, or is nothing of ours.
    """
    made: Any = table.build() if isinstance(table, Own) else table
    use = getattr(table, "use", type(table).__name__)
    examples = made.load() if isinstance(made, Source) else made
    if isinstance(examples, tuple) and len(examples) == 2:
        examples = Examples(*examples)
    if not isinstance(examples, Examples | Stream):
        expected = "Examples, a Stream, a pair of inputs and targets, or an object whose load() gives them"
        raise InputError(f"task.use: {use} gives {type(examples).__name__}; expected {expected}")
    if not len(examples):
        raise InputError(f"task.use: {use} gives no example")
    return examples


def made(
    examples: Examples | Stream,
    table: TaskTable,
    steps: dict[str, Step] | None = None,
    of_classes: bool | Mapping[str, bool] | None = None,
) -> Task:
    """The task that examples make.

    Args:
        examples: read already, or the stream that reads them.
        table: the table `[task]`.
        steps: that prepare the inputs, in their order; None for the data's own.
        of_classes: whether the loss takes classes, of several targets for each; by the data if left out.

    Raises:
        InputError: the data cannot be split, or a step does not apply.
    """
    if isinstance(examples, Stream):
        return streaming.of_stream(examples, table, steps)
    labels: Any = None
    heads: dict[str, Head] | None = None
    targets: Any
    if isinstance(examples.targets, dict):
        targets, heads = numbered_heads(examples, of_classes if isinstance(of_classes, Mapping) else None)
    else:
        targets, labels = numbered(examples, are_classes(examples) if of_classes is None else bool(of_classes))
    rows = split(examples, targets, table, stratify=examples.stratify and labels is not None and targets.ndim == 1)
    if not isinstance(targets, FileArray):
        require_varied(jax.tree.map(lambda x: x[rows["train"]], targets), examples, rows["train"])
    scale = None
    if examples.scale and labels is None:
        training = targets[rows["train"]]
        deviation = training.std(0)
        scale = Scale(training.mean(0), np.where(deviation > 0, deviation, 1.0))
        targets = (targets - scale.mean) / scale.deviation
    take, in_file = _Taken(examples.inputs, targets, _relative(examples.weights)), is_in_file(examples)
    if table.workers and not in_file:
        raise InputError(f"task.workers: got {table.workers} for data in memory; expected a task that is a stream")
    raw = Task(
        splits={name: take(at) for name, at in rows.items() if not (in_file and name == "train")},
        rows=rows,
        labels=labels,
        outputs=_outputs(examples, targets, labels, heads),
        shape=examples.inputs.shape[1:] if isinstance(examples.inputs, np.ndarray | FileArray) else None,
        prepare=as_they_are,
        read=examples.read,
        scale=scale,
        ids=examples.ids,
        names=examples.names,
        heads=heads,
    )
    if in_file:
        training = rows["train"]
        source = Raw(len(training), lambda numbers: take(training[numbers]))
        own, asked = (None if x is None else examples.first | x for x in (examples.steps, steps))
        named = Named(examples.columns, lambda n: examples.place(int(training[n])))
        kept = Kept(examples.inputs, training) if isinstance(examples.inputs, FileArray) else None
        targets_of = lambda: _pass(targets, training)  # noqa: E731
        return streaming.prepared(raw, source, own, asked, table.workers, named, targets_of, kept)
    return _prepared(raw, examples, steps)


def _outputs(
    examples: Examples, targets: Any, labels: Any, heads: dict[str, Head] | None
) -> int | dict[str, int] | None:
    """What a model answers with."""
    if heads is not None:
        return {name: head.outputs for name, head in heads.items()}
    return examples.outputs if examples.outputs is not None else outputs_of(targets, labels)


def _pass(targets: Any, training: np.ndarray) -> Iterator[np.ndarray]:
    """The targets of the training examples, some at a time."""
    if isinstance(targets, FileArray):
        return streaming.passed(len(training), targets.width, lambda numbers: targets[training[numbers]])
    return iter([targets[training]])


def is_in_file(examples: Examples) -> bool:
    """Whether the inputs stay in their file until they are needed."""
    return any(isinstance(x, FileArray) for x in jax.tree.leaves(examples.inputs))


class _Taken(NamedTuple):
    """What takes rows of a data set."""

    inputs: Any
    targets: Any
    weights: np.ndarray | None

    def __call__(self, rows: np.ndarray) -> Split:
        return Split(
            jax.tree.map(lambda x: x[rows], self.inputs),
            jax.tree.map(lambda x: x[rows] if x.dtype.kind != "f" else x[rows].astype(np.float32), self.targets),
            None if self.weights is None else self.weights[rows],
        )


def _relative(weights: np.ndarray | None) -> np.ndarray | None:
    """Weights whose mean is 1."""
    return None if weights is None else np.asarray(weights, np.float32) / np.float32(np.mean(weights))


@contextlib.contextmanager
def _placed(examples: Examples, rows: np.ndarray) -> Iterator[None]:
    """Errors within name the row, and the column if the data have no number there, as the user knows them."""
    try:
        yield
    except preprocess.NotFinite as error:
        row = int(rows[error.row])
        named, first = Named(examples.columns, examples.place), examples.first.values()
        raise named.not_finite(row, examples.inputs[row], error.feature, first) from None


def _prepared(task: Task, examples: Examples, steps: dict[str, Step] | None) -> Task:
    """A task with raw inputs, and its inputs as the steps prepare them."""
    if not is_prepared(examples.inputs, examples.steps, steps):
        splits = {name: part._replace(inputs=as_they_are(part.inputs)) for name, part in task.splits.items()}
        return dataclasses.replace(task, splits=splits, prepare=unprepared(examples.inputs, examples.ids))
    chosen = examples.first | ((examples.steps or {}) if steps is None else steps)
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
        steps=fitted.steps,
        imputes=any(isinstance(step, Impute) for step in chosen.values()),
        optimum=optimum,
    )
