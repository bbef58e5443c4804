"""The classes of the training examples of a stream, counted in one pass over their targets."""

import functools
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from optchain.lab.data.order import ByClass


class Counted:
    """The classes of all training examples; nothing is read until they are asked for.

    Args:
        targets: begins a pass over the targets of the training examples, in their order, some at a time.
        classes: how many there are.
    """

    def __init__(self, targets: Callable[[], Iterator[np.ndarray]], classes: int) -> None:
        self._targets, self.classes = targets, classes

    @property
    def counts(self) -> np.ndarray:
        """How many targets there are of each class."""
        return self._found.counts

    @functools.cached_property
    def by_class(self) -> ByClass:
        """The rows of each class, where an example is of one."""
        assert self._found.of_each is not None
        rows = np.argsort(self._found.of_each, stable=True).astype(np.int32)
        return ByClass(rows, np.cumsum(self.counts) - self.counts, self.counts)

    @functools.cached_property
    def _found(self) -> "_Found":
        counts, of_each, small = np.zeros(self.classes, np.int64), [], np.min_scalar_type(self.classes)
        for targets in self._targets():
            counts += np.bincount(targets.reshape(-1), minlength=self.classes)
            if targets.ndim == 1:
                of_each.append(targets.astype(small))
        return _Found(counts, np.concatenate(of_each) if of_each else None)


class _Found(NamedTuple):
    counts: np.ndarray
    of_each: np.ndarray | None  # the class of each example, in as few bytes as it needs
