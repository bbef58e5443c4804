"""What is made of the user's data once and kept beside them, such as rows that can be read one by one."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.base.files import PART, write_whole
from optchain.lab.data.formats.archives import in_file
from optchain.lab.data.positioned import FileArray, stamp_of

VERSION = 2  # of how rows are written
SETTLED = 2 * 10**9  # nanoseconds after which another change to a file has another time on every file system


class Source(NamedTuple):
    """The user's data, which something is made of."""

    path: Path  # of a file, or of the folder of the files
    files: list[Path]
    digest: str  # by which it is seen that they have changed

    @property
    def stamps(self) -> list[tuple[int, int]]:
        return [stamp_of(file) for file in self.files]

    def beside(self, told: Any, what: str) -> Path:
        """Where something that is made of the data is kept.

        Args:
            told: what else decides what is made, as JSON.
            what: is made, the end of its name.
        """
        known = hashlib.sha256((self.digest + json.dumps(told)).encode()).hexdigest()
        return self.path.with_name(f"{self.path.name}.{known[:16]}.{what}")


def source_of(path: Path, at: str) -> Source:
    """One file, by the hash of its contents, which is kept beside it with the size and the time that it was counted at.

    Raises:
        InputError: it cannot be read.
    """
    place = path.with_name(f"{path.name}.known.json")
    try:
        stamp = list(stamp_of(path))
        with contextlib.suppress(OSError, ValueError, KeyError):
            known = json.loads(place.read_text())
            if known["stamp"] == stamp:
                return Source(path, [path], known["digest"])
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{at}{path}: cannot be read: {error.strerror}") from None
    if time.time_ns() - stamp[1] > SETTLED:
        with contextlib.suppress(OSError):
            write_whole(place, json.dumps({"stamp": stamp, "digest": digest}))
    return Source(path, [path], digest)


def source_of_folder(folder: Path, files: list[Path]) -> Source:
    """Files of a folder, by their names, sizes and times; their contents are not read."""
    known = [[file.relative_to(folder).as_posix(), *stamp_of(file)] for file in files]
    return Source(folder, files, hashlib.sha256(json.dumps(known).encode()).hexdigest())


def converted(
    source: Source, shape: tuple[int, ...], kind: str, told: Any, blocks: Callable[[], Iterator[np.ndarray]], at: str
) -> FileArray:
    """The rows of the user's data, from the file beside them that holds these; this is written if there is none yet.

    Args:
        source: the data. If these have changed, they are converted again.
        shape: of all rows.
        kind: the dtype that they are stored in.
        told: what else decides how rows are encoded, as JSON.
        blocks: begins a pass: encoded rows in their order, some at a time.
        at: how errors begin.

    Raises:
        InputError: the disk has too little space, or the file cannot be written.
    """
    target = source.beside([VERSION, shape, kind, told], "rows.npy")
    if not target.exists():
        size = int(np.prod(shape, dtype=np.int64)) * np.dtype(kind).itemsize
        with written(source, target, size, at) as part, part.open("wb") as file:
            header = {"descr": np.dtype(kind).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows in blocks():
                file.write(np.ascontiguousarray(rows, kind).data)
    rows = in_file(target, at)
    assert isinstance(rows, FileArray) and rows.shape == shape
    return rows


@contextlib.contextmanager
def written(source: Source, target: Path, size: int, at: str) -> Iterator[Path]:
    """Announce what is kept beside the user's data, and give the place to write it to; it is kept whole or not at all.

    Args:
        source: the user's data, which stay as they are meanwhile.
        target: of what is made.
        size: that it has at most, in bytes.
        at: how errors begin.

    Raises:
        InputError: the disk has too little space, the place cannot be written, or the data have changed meanwhile.
    """
    path = source.path
    free, cure = shutil.disk_usage(target.parent).free, "make room, or leave task.stream out"
    if size > free:
        said = f"{target.name} takes {_shown(size)} on the disk, and {target.parent} has {_shown(free)} left"
        raise InputError(f"{at}{path}: {said}; {cure}")
    what = target.suffixes[-1] if target.suffix != ".npy" else ".rows.npy"
    others = [other.name for other in path.parent.glob(f"{path.name}.*{what}")]
    old = f"; {path.name} or how it is read has changed since {', '.join(others)}" if others else ""
    say(f"writing {target.name} beside {path.name} once, up to {_shown(size)} on the disk{old}")
    part, stamps = target.with_name(f"{target.name}.{os.getpid()}{PART}"), source.stamps
    try:
        yield part
        if source.stamps != stamps:
            raise InputError(f"{at}{path}: has changed while it was read; start the command again")
        part.replace(target)
    except OSError as error:
        if error.filename not in (None, str(part)):
            raise
        cure = cure if error.errno == errno.ENOSPC else f"expected a place for it beside {path.name}"
        raise InputError(f"{at}{target}: cannot be written: {error.strerror}; {cure}") from None
    finally:
        shutil.rmtree(part, ignore_errors=True) if part.is_dir() else part.unlink(missing_ok=True)


def _shown(size: int) -> str:
    return f"{size / 1e9:.2g} GB" if size >= 1e8 else f"{size / 1e6:.2g} MB"
