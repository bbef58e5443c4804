"""Training examples that are read when a step needs them, such as more than fit into memory."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.task import Split


@runtime_checkable
class RowSource(Protocol):
    """A source that reads many examples at once."""

    def __len__(self) -> int: ...

    def rows(self, numbers: np.ndarray) -> Any:
        """Inputs and targets, and weights if there are any, of the examples of these numbers."""
        ...


class Raw(NamedTuple):
    """Training examples before they are prepared."""

    size: int
    read: Callable[[np.ndarray], Split]  # the examples of these numbers, from 0


@dataclasses.dataclass(frozen=True)
class Stream:
    """Training examples that are read when a step needs them, and examples in memory that judge the model.

    The order of the examples is that of a task in memory with as many: a batch depends on the seed and the step alone.

    Args:
        train: an object with `len(train)` and `train.rows(numbers)`, which gives inputs and targets, or inputs, targets
            and weights, as arrays with a row for each of the numbers (an array of whole numbers from 0). Or, more
            slowly, `train[number]`, which gives those of one example. It is called from another thread, with
            `task.workers` in other processes; it must give the same for the same numbers.
        validation: inputs and targets, or inputs, targets and weights, as arrays. Without them `task.validation` may
            hold out some of the other examples; else a sample of the training examples judges the model.
        test: inputs and targets, likewise.
        labels: the names of the classes, whose numbers from 0 the targets are; None if the targets are real numbers.
        names: of the targets, which answers are called by.
        loss: the name of the built-in loss that a configuration without `[loss]` takes; by the targets if left out.
        outputs: numbers that a model answers; by the targets if left out.
        steps: steps that prepare inputs where the configuration names none; None if no step applies.
        read: raw inputs from a file of the user's, as `predict` takes them.
        ids: how many there are, where the inputs are numbers of ids.
    """

    train: Any
    validation: Any = None
    test: Any = None
    _: dataclasses.KW_ONLY
    labels: Sequence[Any] | None = None
    names: tuple[str, ...] = ()
    loss: str | None = None
    outputs: int | None = None
    steps: dict[str, Step] | None = dataclasses.field(default_factory=dict)
    read: Callable[[Path], Any] | None = None
    ids: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.train, RowSource) and not isinstance(self.train, _ByExample):
            expected = "an object with len() and rows(numbers), or with len() and [number]"
            raise InputError(f"task: the examples of a Stream are {type(self.train).__name__}; expected {expected}")
        if len(self) and self.labels is None:
            kinds = {x.dtype.kind for x in jax.tree.leaves(self.targets)}
            if kinds & set("OSUbiu"):
                cure = "give their labels, or targets that are real numbers"
                raise InputError(f"task: the targets of the Stream are classes, and it does not say which; {cure}")

    def __len__(self) -> int:
        return len(self.train)

    @property
    def targets(self) -> Any:
        """What tells of which kind all targets are: the number of each class, or the targets of the first example."""
        return self.rows(np.zeros(1, np.int64)).targets if self.labels is None else np.arange(len(self.labels))

    def rows(self, numbers: np.ndarray) -> Split:
        """The training examples of these numbers, as the source gives them.

        Raises:
            InputError: the source gives something else.
        """
        if isinstance(self.train, RowSource):
            return examples_in(self.train.rows(numbers), len(numbers), "rows(numbers) of the Stream")
        each = [self.train[int(number)] for number in numbers]
        if not all(isinstance(one, tuple) and len(one) in (2, 3) for one in each):
            raise InputError(f"task: [number] of the Stream gives {type(each[0]).__name__}; {PAIR}")
        return examples_in(jax.tree.map(lambda *xs: np.stack(xs), *each), len(numbers), "[number] of the Stream")


PAIR = "expected inputs and targets, or inputs, targets and weights"


@runtime_checkable
class _ByExample(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> Any: ...


def examples_in(given: Any, size: int | None, what: str) -> Split:
    """Inputs, targets and maybe weights as a split.

    Args:
        given: a tuple of them.
        size: rows that each array must have; those of the targets if None.
        what: gives them, for errors.
    """
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        raise InputError(f"task: {what} gives {type(given).__name__}; {PAIR}")
    split = jax.tree.map(np.asarray, Split(*given))
    sizes = {len(x) if x.ndim else None for x in jax.tree.leaves(split)}
    if sizes != {split.size if size is None else size}:
        expected = f"{size} of each" if size is not None else "as many of each"
        raise InputError(f"task: {what} gives arrays with {sorted(map(str, sizes))} rows; expected {expected}")
    return split
