"""Text files, byte by byte: a class for each file, or the next byte."""

from pathlib import Path
from typing import Literal

import numpy as np
from pydantic import PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.formats.classes import classed
from optchain.lab.data.formats.places import folders, listed, require_folder, some
from optchain.lab.data.tables import TaskTable
from optchain.lab.settings.table import Place

LENGTH = 256
CONTEXT = 64
REGION = 32  # neighbouring windows of one file that stay in one split: near each other, texts repeat themselves


class TextFiles(TaskTable):
    """Texts as bytes; no step applies to them.

    A folder with one sub-folder per class (or `train`, `validation` and `test` with such folders in each): each file is
    an example, int32[files, length], cut at `length` or filled up with 0; the targets are the classes, whose labels are
    the names of the folders.

    One file, or a folder of files: windows that do not overlap, int32[windows, context]; the targets are the bytes that
    follow each of theirs, int32[windows, context]. The windows of one file are never split, or, if there is only one
    file, 32 neighbouring windows.
    """

    use: Literal["textfiles"]
    path: Place  # of a file or a folder
    pattern: str = "*.txt"  # of the names of files in a folder
    length: PositiveInt | None = None  # bytes of each text, for classes; 256 if left out
    context: PositiveInt | None = None  # bytes of each window, for the next byte; 64 if left out

    def load(self) -> Examples:
        """Read the texts.

        Raises:
            InputError: naming the folder or the file.
        """
        if not self.path.is_file():
            require_folder(self.path, "task.path: ")
            if any(self._files(place) for part in folders(self.path) for place in (part, *folders(part))):
                return self._of_classes()
        return self._of_next_bytes()

    def _of_classes(self) -> Examples:
        if self.context is not None:
            raise InputError(f"task.context: is for next bytes; {self.path} has folders of classes: say task.length")
        found = classed(self.path, lambda path: path.match(self.pattern), f"files like {self.pattern}", "task.path: ")
        length = self.length or LENGTH
        return Examples(
            np.stack([_padded(_bytes(path, "task.path: "), length) for path in found.files]),
            found.targets,
            labels=found.labels,
            split=found.split,
            steps=None,
            ids=256,
            read=lambda path: np.stack([_padded(_bytes(file, ""), length) for file in self._given(path)]),
        )

    def _of_next_bytes(self) -> Examples:
        if self.length is not None:
            raise InputError(f"task.length: is for classes; {self.path} has no folders of classes: say task.context")
        files = [self.path] if self.path.is_file() else self._files(self.path)
        if not files:
            names = [path.name for path in listed(self.path)]
            there = f"there is {some(names)}" if names else "the folder is empty"
            raise InputError(f"task.pattern: no file of {self.path} matches {self.pattern!r}; {there}")
        context = self.context or CONTEXT
        cuts = [_windows(_bytes(path, "task.path: "), context + 1) for path in files]
        windows = np.concatenate(cuts)
        if not len(windows):
            where = self.path if len(files) == 1 else f"each of {len(files)} files"
            raise InputError(f"task.context: {where} has less than {context + 1} bytes; expected a shorter context")
        counts = [len(cut) for cut in cuts]
        several = np.count_nonzero(counts) > 1
        groups = np.repeat(np.arange(len(files)), counts) if several else np.arange(len(windows)) // REGION
        return Examples(
            windows[:, :-1],
            windows[:, 1:],
            labels=list(range(256)),
            groups=groups,
            loss="cross_entropy",
            outputs=256,
            steps=None,
            ids=256,
            read=lambda path: _last(path, context),
        )

    def _files(self, folder: Path) -> list[Path]:
        return [path for path in listed(folder) if path.is_file() and path.match(self.pattern)]

    def _given(self, path: Path) -> list[Path]:
        """The files to answer: one, or those of a folder."""
        files = self._files(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no file matches {self.pattern!r}")
        return files


def _bytes(path: Path, at: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{at}{path}: cannot be read: {error.strerror}") from None


def _padded(text: bytes, length: int) -> np.ndarray:
    row = np.zeros(length, np.int32)
    row[: len(text)] = np.frombuffer(text[:length], np.uint8)
    return row


def _windows(text: bytes, length: int) -> np.ndarray:
    """Pieces of that many bytes, end to end; a shorter rest is left out."""
    count = len(text) // length
    return np.frombuffer(text, np.uint8, count * length).reshape(count, length).astype(np.int32)


def _last(path: Path, context: int) -> np.ndarray:
    """The last bytes of a text, as one row."""
    text = _bytes(path, "")
    if len(text) < context:
        raise InputError(f"{path}: has {len(text)} bytes; expected at least {context}, the context of the model")
    return np.frombuffer(text[-context:], np.uint8).astype(np.int32)[None]
