"""The task of a stream: what is known of all its training examples, and how some of them are read and prepared."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.data import order, preprocess
from optchain.lab.data.counted import Counted
from optchain.lab.data.fitted import Kept
from optchain.lab.data.named import Named, coded
from optchain.lab.data.numbers import as_they_are, is_prepared, narrow, outputs_of, unprepared
from optchain.lab.data.positioned import blocks
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.stream import Raw, Stream, examples_in
from optchain.lab.data.tables import TaskTable
from optchain.lab.data.task import Split, Streamed, Task

SAMPLE = 1024  # training examples that are scored, and no more than these bytes of raw ones:
SAMPLE_BYTES = 16 * 2**20


def of_stream(stream: Stream, table: TaskTable, steps: dict[str, Step] | None) -> Task:
    """The task of a stream of the user's.

    Args:
        stream: as the user made it.
        table: the table `[task]`.
        steps: that prepare the inputs, in their order; None for the stream's own.

    Raises:
        InputError: the table contradicts the stream, or a step does not apply.
    """
    said = [name for name in ("folds", "stratify") if getattr(table, name)]
    if said:
        raise InputError(f"task.{said[0]}: is for data in memory; leave it out for a Stream")
    given, held = {"validation": stream.validation, "test": stream.test}, _held_out(stream, table)
    splits = {
        name: _numbered(stream, examples_in(x, None, f"{name} of the Stream"))
        for name, x in given.items()
        if x is not None
    }
    splits |= {name: _numbered(stream, stream.rows(numbers)) for name, numbers in held.items()}
    taken = np.sort(np.concatenate([np.empty(0, np.int64), *held.values()]))
    before = taken - np.arange(len(taken))  # how many that are left stand before each that is taken

    def left(numbers: Any) -> Any:
        return numbers + np.searchsorted(before, numbers, side="right")

    raw = Raw(len(stream) - len(taken), lambda numbers: _numbered(stream, stream.rows(left(numbers))))
    first = raw.read(np.zeros(1, np.int64))
    task = Task(
        splits=splits,
        rows={},
        labels=stream.labels,
        outputs=outputs_of(first.targets, stream.labels) if stream.outputs is None else stream.outputs,
        shape=first.inputs.shape[1:] if isinstance(first.inputs, np.ndarray) else None,
        prepare=as_they_are,
        read=stream.read,
        ids=stream.ids,
        names=stream.names,
    )
    row, workers = _bytes(first.inputs), table.workers
    return prepared(
        task,
        raw,
        stream.steps,
        steps,
        workers,
        Named((), lambda n: f"example {left(n)} (from 0)"),
        lambda: passed(raw.size, row, lambda numbers: raw.read(numbers).targets),
    )


def passed(size: int, row: int, read: Callable[[np.ndarray], np.ndarray]) -> Iterator[np.ndarray]:
    """A pass over the targets of training examples of so many bytes, some at a time."""
    say(f"counting the classes: one pass over {size} training examples")
    for numbers in blocks(size, row):
        yield read(numbers)


def prepared(
    task: Task,
    raw: Raw,
    own: dict[str, Step] | None,
    asked: dict[str, Step] | None,
    workers: int,
    named: Named,
    targets: Callable[[], Iterator[np.ndarray]],
    kept: Kept | None = None,
) -> Task:
    """A task whose training examples are read when they are needed, with the inputs as the steps prepare them.

    Args:
        task: with raw inputs, without training examples.
        raw: what reads the training examples.
        own: the steps of the data; None if no step applies.
        asked: the steps that the configuration asks for; None if it says nothing.
        workers: processes that read.
        named: the names of the training examples, for errors.
        targets: begins a pass over the targets of the training examples, some at a time.
        kept: where it is kept what steps have learned; None if it is not.

    Raises:
        InputError: a step does not apply, or needs all rows at once.
    """
    first = raw.read(np.zeros(1, np.int64)).inputs
    change, prepare, transforms = as_they_are, unprepared(first, task.ids), None
    chosen = (own if asked is None else asked) or {}
    if is_prepared(first, own, asked):
        fit = lambda: _fitted(raw, first, chosen, named)  # noqa: E731
        change = fit() if kept is None else kept.fitted(chosen, fit)
        transforms = change.steps
        shape = first.shape[1:]
        prepare = lambda rows: change(np.asarray(rows).reshape(-1, *shape))  # noqa: E731
    read = _Read(raw, change, named, tuple(chosen.values()))
    splits = {name: part._replace(inputs=change(part.inputs)) for name, part in task.splits.items()}
    return dataclasses.replace(
        task,
        splits={"train": read(_sample(raw.size, _bytes(first)))} | splits,
        prepare=prepare,
        steps=transforms,
        imputes=any(isinstance(step, Impute) for step in chosen.values()),
        stream=Streamed(raw.size, read, workers),
        counted=None if task.classes is None else Counted(targets, task.classes),
    )


def _fitted(raw: Raw, first: np.ndarray, chosen: dict[str, Step], named: Named) -> preprocess.Pipeline:
    if chosen:
        passes = "one pass" if len(chosen) == 1 else f"{len(chosen)} passes"
        say(f"fitting the preparation: {passes} over {raw.size} training examples")
    return preprocess.fit_in_blocks(chosen, lambda: _finite(raw, first, chosen, named))


@dataclasses.dataclass(frozen=True)
class _Read:
    """What reads prepared examples; it travels to other processes."""

    raw: Raw
    change: Callable[[Any], Any]
    named: Named
    steps: tuple[Step, ...]

    def __call__(self, numbers: np.ndarray) -> Split:
        part = self.raw.read(numbers)
        try:
            return part._replace(inputs=self.change(part.inputs))
        except preprocess.NotFinite as error:
            number, row = int(numbers[error.row]), np.asarray(part.inputs[error.row], np.float64)
            raise self.named.not_finite(number, row, error.feature, self.steps) from None


def _numbered(stream: Stream, part: Split) -> Split:
    """Examples whose targets are as a network receives them."""
    if stream.labels is None:
        targets = jax.tree.map(narrow, part.targets)
    else:
        targets = np.asarray(part.targets).astype(np.int32)
        wrong = targets[(targets < 0) | (targets >= len(stream.labels))]
        if wrong.size:
            expected = f"numbers of {len(stream.labels)} labels, from 0 to {len(stream.labels) - 1}"
            raise InputError(f"task: a target of the Stream is {wrong.flat[0]}; expected {expected}")
    return part._replace(targets=targets, weights=None if part.weights is None else narrow(part.weights))


def _held_out(stream: Stream, table: TaskTable) -> dict[str, np.ndarray]:
    """The numbers of the examples that the table holds out, by a seed of their own; no more memory than these take."""
    counts = {}
    for name in ("test", "validation"):
        asked = getattr(table, name)
        counts[name] = round(asked * len(stream)) if isinstance(asked, float) else asked
        if counts[name] and getattr(stream, name) is not None:
            raise InputError(f"task.{name}: got {asked}, and the Stream has {name} examples itself; leave one out")
    if sum(counts.values()) >= len(stream):
        raise InputError(
            f"task: {sum(counts.values())} of {len(stream)} examples are held out; none would be trained on"
        )
    drawn = order.rows(np.uint32(table.seed), 0, sum(counts.values()), len(stream), np).astype(np.int64)
    parts = {"test": drawn[: counts["test"]], "validation": drawn[counts["test"] :]}
    return {name: np.sort(numbers) for name, numbers in parts.items() if len(numbers)}


def _finite(raw: Raw, first: np.ndarray, steps: dict[str, Step], named: Named) -> Iterator[np.ndarray]:
    """A pass over the inputs, in blocks; none is infinite, nor missing where no step takes that."""
    imputes = any(isinstance(step, Impute) for step in steps.values())
    categories = coded(steps.values())
    for numbers in blocks(raw.size, 8 * first.size):
        rows = np.asarray(raw.read(numbers).inputs, np.float64)
        wrong = np.isinf(rows) if imputes else ~np.isfinite(rows)
        if categories:
            wrong[:, categories] = False
        if wrong.any():
            row, feature = map(int, np.argwhere(wrong.reshape(len(rows), -1))[0])
            raise named.not_finite(int(numbers[row]), np.where(wrong[row], np.nan, 0), feature, ())
        yield rows


def _bytes(inputs: Any) -> int:
    return sum(x.nbytes for x in jax.tree.leaves(inputs))


def _sample(size: int, row: int) -> np.ndarray:
    """The numbers of the training examples that stand for all of them, if each has some bytes."""
    count = min(size, SAMPLE, max(2, SAMPLE_BYTES // max(row, 1)))
    return np.sort(order.rows(np.uint32(0), 0, count, size, np))
