"""What is learned: examples that are split and prepared, and what is known of them."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from optchain.lab.data.counted import Counted
from optchain.lab.data.preprocess.step import Transform


class Split(NamedTuple):
    """Some of the examples, one row for each in every array."""

    inputs: Any
    targets: Any
    weights: np.ndarray | None = None  # in the loss

    @property
    def size(self) -> int:
        """How many examples."""
        return len(jax.tree.leaves(self.targets)[0])


class Scale(NamedTuple):
    """What real targets were shifted by and divided by."""

    mean: np.ndarray
    deviation: np.ndarray

    def own(self, numbers: Any) -> Any:
        """Numbers of the network's scale in the targets' own units."""
        return self.mean + self.deviation * numbers


class Head(NamedTuple):
    """What is known of one of several targets."""

    labels: Sequence[Any] | None  # of its classes; None if it is a number
    outputs: int  # that a model answers it with

    @property
    def classes(self) -> int | None:
        """How many there are."""
        return None if self.labels is None else len(self.labels)


@dataclasses.dataclass(frozen=True)
class Streamed:
    """The training examples of a task that are read when a step needs them.

    Args:
        size: how many there are.
        read: the prepared examples of some numbers, from 0; called from another thread, or in another process.
        workers: processes that read; 0 for a thread.
    """

    size: int
    read: Callable[[np.ndarray], Split]
    workers: int = 0


@dataclasses.dataclass(frozen=True)
class Task:
    """What is learned: examples that are split and prepared, and what is known of them."""

    splits: dict[str, Split]  # "train", or a sample of it, and "validation" and "test" unless they are empty
    rows: dict[str, np.ndarray]  # of each split, in the data set as it is before the split
    labels: Sequence[Any] | None  # of the classes, of which the targets are numbers; None if they are none
    outputs: int | dict[str, int] | None  # that a model answers with, by head if it has some; None: its own business
    shape: tuple[int, ...] | None  # of a raw example that is one array: that of images, or the number of features
    prepare: Callable[[Any], Any]  # from raw inputs to the network's
    read: Callable[[Path], Any] | None = None  # raw inputs from a file; None if it holds rows of plain numbers
    steps: dict[str, Transform] | None = None  # by which one array is prepared; None if no step applies
    imputes: bool = False  # whether raw rows may miss values
    scale: Scale | None = None
    ids: int | None = None  # that the inputs are numbers of, where a table has a row for each
    optimum: float | None = None  # the lowest possible training loss, where it is known
    names: tuple[str, ...] = ()  # of the targets
    heads: dict[str, Head] | None = None  # of several targets, each with its own answer; None if there is one array
    loss: Any = None  # a `models.losses.Loss`: what an answer costs
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)  # of `models.metrics.Metric`; the first is shown
    stream: Streamed | None = None  # where training examples are read from; None if the split holds them all
    counted: Counted | None = None  # the classes of a stream, if there are any

    @property
    def size(self) -> int:
        """How many examples are trained on."""
        return self.splits["train"].size if self.stream is None else self.stream.size

    @property
    def features(self) -> int:
        """In a raw row."""
        return math.prod(self.shape or ())

    @property
    def classes(self) -> int | None:
        """How many there are."""
        return None if self.labels is None else len(self.labels)

    @property
    def shown(self) -> str | None:
        """The metric that is shown beside the loss."""
        return next(iter(self.metrics), None)

    def held_out(self, name: str) -> str:
        """The split to evaluate on: the one of that name, or the training examples where it is empty."""
        return name if name in self.splits else "train"
