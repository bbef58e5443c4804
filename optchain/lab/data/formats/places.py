"""Finding files and folders, and what is said on the standard error."""

import sys
from collections.abc import Iterable
from pathlib import Path

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError


def require_file(path: Path, at: str) -> None:
    """The path is that of a file; an error begins with `at`, such as "task.path: ".

    Raises:
        InputError: saying what is there, or the nearest name.
    """
    if path.is_dir():
        raise InputError(f"{at}{path}: is a folder; expected a file")
    if not path.is_file():
        raise InputError(f"{at}{path}: does not exist; {_near(path)}")


def require_folder(path: Path, at: str) -> None:
    """The path is that of a folder; an error begins with `at`, such as "task.path: ".

    Raises:
        InputError: saying what is there, or the nearest name.
    """
    if path.is_file():
        raise InputError(f"{at}{path}: is a file; expected a folder")
    if not path.is_dir():
        raise InputError(f"{at}{path}: does not exist; {_near(path)}")


def listed(folder: Path) -> list[Path]:
    """What a folder holds, by name, without hidden files."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def folders(folder: Path) -> list[Path]:
    """The folders within one, by name, without hidden ones."""
    return [path for path in listed(folder) if path.is_dir()]


def some(values: Iterable[object], show: int = 5) -> str:
    """Values for a message, no more than a few of them."""
    values = list(values)
    more = f" and {len(values) - show} more" if len(values) > show else ""
    return ", ".join(map(repr, values[:show])) + more


def warn(line: str) -> None:
    """One line on the standard error."""
    print(line, file=sys.stderr, flush=True)


def _near(path: Path) -> str:
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return nearest(path.name, [other.name for other in listed(path.parent)])
