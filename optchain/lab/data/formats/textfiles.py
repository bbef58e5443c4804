"""Text files, byte by byte: a class for each file, or the next byte."""

import codecs
import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples, Reader
from optchain.lab.data.formats.classes import classed
from optchain.lab.data.formats.converted import converted, source_of_folder
from optchain.lab.data.formats.places import folders, listed, require_folder, some
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.standalone.texts import Texts
from optchain.lab.data.tables import TaskTable
from optchain.lab.settings.table import Place

AT = "task.path: "
BLOCK = 4 * 2**20  # bytes of a file that are read at once
LENGTH = 256
CONTEXT = 64
REGION = 32  # neighbouring windows of one file that stay in one split: near each other, texts repeat themselves
PACK = "expected a shorter context, or packed = true, so that windows go on from file to file"


class TextFiles(TaskTable):
    """Texts as bytes; no step applies to them.

    A folder with one sub-folder per class (or `train`, `validation` and `test` with such folders in each): each file is
    an example, int32[files, length], cut at `length` or filled up with 0; the targets are the classes, whose labels are
    the names of the folders.

    One file, or a folder of files: windows that do not overlap, int32[windows, context]; the targets are the bytes that
    follow each of theirs, int32[windows, context]. The windows of one file are never split, or, if there is only one
    file, 32 neighbouring windows.

    Of files shorter than a window nothing would be left: with `packed` the files are laid end to end in the order of
    their names, a byte 0 after each, and windows are cut from that; none is filled up, and only a rest at the end is
    left out. A window may hold the end of a text, its 0 and the beginning of the next one, which the model sees like
    any other bytes. 32 neighbouring windows are never split then: a text may lie in two splits, none of its bytes does.

    With `stream` the rows are written once into a file beside the path, a byte for each byte. Files that are added,
    changed or removed, by their names, sizes and times, are converted again. All texts are in UTF-8.
    """

    use: Literal["textfiles"]
    path: Place  # of a file or a folder
    pattern: str = "*.txt"  # of the names of files in a folder
    length: PositiveInt | None = None  # bytes of each text, for classes; 256 if left out
    context: PositiveInt | None = None  # bytes of each window, for the next byte; 64 if left out
    packed: bool = False  # whether windows go on from file to file, for the next byte
    stream: bool = False  # rows for training are read when a step needs them, from a file that is made once

    def load(self) -> Examples:
        """Read the texts.

        Raises:
            InputError: naming the folder or the file.
        """
        if not self.path.is_file():
            require_folder(self.path, AT)
            if any(self._files(place) for part in folders(self.path) for place in (part, *folders(part))):
                return self._of_classes()
        return self._of_next_bytes()

    def _of_classes(self) -> Examples:
        for key in ("context", "packed"):
            if getattr(self, key):
                raise InputError(f"task.{key}: is for next bytes; {self.path} has folders of classes: say task.length")
        found = classed(self.path, lambda path: path.match(self.pattern), f"files like {self.pattern}", AT)
        length = self.length or LENGTH
        rows = self._rows(
            found.files, (len(found.files), length), lambda: (_padded(path, length, AT) for path in found.files)
        )
        return Examples(
            _changed(rows, _whole),
            found.targets,
            labels=found.labels,
            split=found.split,
            steps=None,
            ids=256,
            read=Reader(
                lambda path: _whole(np.concatenate([_padded(file, length, "") for file in self._given(path)])),
                Texts(length),
            ),
        )

    def _of_next_bytes(self) -> Examples:
        if self.length is not None:
            raise InputError(f"task.length: is for classes; {self.path} has no folders of classes: say task.context")
        files = [self.path] if self.path.is_file() else self._files(self.path)
        if not files:
            require_folder(self.path, AT)
            names = [path.name for path in listed(self.path)]
            there = f"there is {some(names)}" if names else "the folder is empty"
            raise InputError(f"task.pattern: no file of {self.path} matches {self.pattern!r}; {there}")
        context = self.context or CONTEXT
        length, sizes = context + 1, np.array([_size(path) for path in files])
        counts = np.array([(sizes + 1).sum() // length]) if self.packed else sizes // length
        total = int(counts.sum())
        if not total:
            where = self.path if len(files) == 1 else f"all of {len(files)} files" if self.packed else None
            where = where or f"each of {len(files)} files"
            cure = "expected a shorter context" if self.packed or len(files) == 1 else PACK
            raise InputError(f"task.context: {where} has less than {length} bytes; {cure}")
        rows = self._rows(files, (total, length), lambda: _windows(files, length, self.packed))
        several = np.count_nonzero(counts) > 1
        return Examples(
            _changed(rows, _all_but_last),
            _changed(rows, _all_but_first),
            labels=list(range(256)),
            groups=np.repeat(np.arange(len(counts)), counts) if several else np.arange(total) // REGION,
            loss="cross_entropy",
            outputs=256,
            steps=None,
            ids=256,
            read=Reader(lambda path: _last(path, context), Texts(context, last=True)),
        )

    def _rows(
        self, files: list[Path], shape: tuple[int, int], blocks: Callable[[], Iterator[np.ndarray]]
    ) -> np.ndarray | FileArray:
        """Rows of bytes, in memory or in a file."""
        if not self.stream:
            return np.concatenate([*blocks()])
        return converted(source_of_folder(self.path, files), shape, "u1", [self.packed], blocks, AT)

    def _files(self, folder: Path) -> list[Path]:
        return [path for path in listed(folder) if path.is_file() and path.match(self.pattern)]

    def _given(self, path: Path) -> list[Path]:
        """The files to answer: one, or those of a folder."""
        files = self._files(path) if path.is_dir() else [path]
        if not files:
            raise InputError(f"{path}: no file matches {self.pattern!r}")
        return files


def _changed(rows: np.ndarray | FileArray, change: Callable[[np.ndarray], np.ndarray]) -> Any:
    return dataclasses.replace(rows, change=change) if isinstance(rows, FileArray) else change(rows)


def _whole(rows: np.ndarray) -> np.ndarray:
    return rows.astype(np.int32)


def _all_but_last(rows: np.ndarray) -> np.ndarray:
    return rows[:, :-1].astype(np.int32)


def _all_but_first(rows: np.ndarray) -> np.ndarray:
    return rows[:, 1:].astype(np.int32)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputError(f"{AT}{path}: cannot be read: {error.strerror}") from None


def _blocks(path: Path, at: str) -> Iterator[bytes]:
    """The bytes of a file, some at a time.

    Raises:
        InputError: it cannot be read, or is not UTF-8.
    """
    decoder, line = codecs.getincrementaldecoder("utf-8")(), 1
    try:
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                decoder.decode(block)
                yield block
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        line += error.object.count(b"\n", 0, error.start)
        byte = f"byte 0x{error.object[error.start]:02x} in line {line}"
        raise InputError(f"{at}{path}: is not UTF-8 ({byte}); save it as UTF-8") from None
    except OSError as error:
        raise InputError(f"{at}{path}: cannot be read: {error.strerror}") from None


def _padded(path: Path, length: int, at: str) -> np.ndarray:
    """The beginning of a text, as one row."""
    text = b""
    for block in _blocks(path, at):
        text += block[: length - len(text)]
    return np.frombuffer(text.ljust(length, b"\0"), np.uint8)[None]


def _windows(files: list[Path], length: int, packed: bool) -> Iterator[np.ndarray]:
    """Pieces of that many bytes, end to end; a shorter rest of a file, or of all where they are packed, is left out."""
    rest = b""
    for path in files:
        for block in itertools.chain(_blocks(path, AT), [b"\0"] if packed else []):
            rest += block
            count = len(rest) // length
            yield np.frombuffer(rest, np.uint8, count * length).reshape(count, length)
            rest = rest[count * length :]
        rest = rest if packed else b""


def _last(path: Path, context: int) -> np.ndarray:
    """The last bytes of a text, as one row."""
    text = b"".join(_blocks(path, ""))
    if len(text) < context:
        raise InputError(f"{path}: has {len(text)} bytes; expected at least {context}, the context of the model")
    return np.frombuffer(text[-context:], np.uint8).astype(np.int32)[None]
