"""Writing files: at once or not at all, and with errors that name the file."""

import contextlib
import os
import platform
from collections.abc import Collection, Iterator
from pathlib import Path

PART = ".part"  # of a file that is not whole


def is_taken(folder: Path, besides: Collection[str] = ()) -> bool:
    """Whether there is anything in a folder besides files of these names, or anything but a folder at its place."""
    if not folder.is_dir():
        return folder.exists()
    return any(path.suffix != PART and path.name not in besides for path in folder.iterdir())


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old text or the new one, whoever else writes it meanwhile."""
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}{PART}")
    with naming(path):
        part.write_text(text, encoding="utf-8")
        part.replace(path)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Give an OSError that names no file, as that of a full disk, the name of the file that is written."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise
