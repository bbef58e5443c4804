"""Rows of an array in a file, read by their position.

The file is never mapped: the pages of a map that were touched count as memory of the process, up to the whole file.
"""

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from optchain.lab.base.errors import InputError

BLOCK = 32 * 2**20  # bytes that a pass over the rows holds at once


def blocks(size: int, row: int) -> Iterator[np.ndarray]:
    """The numbers of the rows from 0 to `size`, as many at once as a block holds, if each has `row` bytes."""
    step = max(1, BLOCK // max(row, 1))
    for begin in range(0, size, step):
        yield np.arange(begin, min(begin + step, size))


def stamp_of(file: int | Path) -> tuple[int, int]:
    """What tells that a file has changed: its size, and the time of its last change."""
    found = os.stat(file)
    return found.st_size, found.st_mtime_ns


@dataclasses.dataclass(frozen=True)
class FileArray:
    """An array that stays in its file; `array[numbers]` reads the rows of these numbers.

    Args:
        path: of the file.
        offset: of the first row, in bytes.
        stored: the shape of the array as it is stored, rows first.
        kind: the dtype of the array as it is stored.
        stamp: of the file, which must stay the same.
        change: what is made of rows as they are stored; it gives a row for each.
    """

    path: Path
    offset: int
    stored: tuple[int, ...]
    kind: np.dtype
    stamp: tuple[int, int]
    change: Callable[[np.ndarray], np.ndarray] = np.asarray

    def __len__(self) -> int:
        return self.stored[0]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array after the change."""
        return (len(self), *self._none.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Of the array after the change."""
        return self._none.dtype

    @property
    def ndim(self) -> int:
        """How many axes the array has after the change."""
        return self._none.ndim

    @property
    def _none(self) -> np.ndarray:
        return self.change(np.empty((0, *self.stored[1:]), self.kind))

    @property
    def width(self) -> int:
        """Bytes of a row as it is stored."""
        return self.kind.itemsize * int(np.prod(self.stored[1:], dtype=np.int64))

    def __getitem__(self, numbers: np.ndarray) -> np.ndarray:
        """The rows of these numbers, in their order.

        Raises:
            InputError: the file has changed since it was opened, or cannot be read.
        """
        rows, places = np.unique(np.asarray(numbers, np.int64), return_inverse=True)
        found = bytearray(len(rows) * self.width)
        begins = np.flatnonzero(np.diff(rows, prepend=-2) > 1)  # of runs of neighbours, which are read together
        try:
            file = os.open(self.path, os.O_RDONLY)
            try:
                if stamp_of(file) != self.stamp:
                    raise InputError(f"{self.path} has changed since training began; start the command again")
                for begin, end in itertools.pairwise([*begins, len(rows)]):
                    self._fill(file, memoryview(found)[begin * self.width : end * self.width], int(rows[begin]))
            finally:
                os.close(file)
        except OSError as error:
            raise InputError(f"{self.path}: cannot be read: {error.strerror}") from None
        return self.change(np.frombuffer(found, self.kind).reshape(len(rows), *self.stored[1:])[places])

    def _fill(self, file: int, buffer: memoryview, row: int) -> None:
        """Read from the beginning of a row on until the buffer is full; one call may read less than it is asked for."""
        position = self.offset + row * self.width
        while buffer.nbytes:
            count = os.preadv(file, [buffer], position)
            if not count:
                raise InputError(f"{self.path} ends before row {row} (from 0); the file is incomplete")
            buffer, position = buffer[count:], position + count

    def blocks(self) -> Iterator[np.ndarray]:
        """All rows in their order, a block at a time."""
        for numbers in blocks(len(self), self.width):
            yield self[numbers]
