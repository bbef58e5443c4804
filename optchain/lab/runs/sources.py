"""The user's objects in a configuration: which files they come from, and whether these have changed since."""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.settings.own import Own
from optchain.lab.settings.places import Placed, find, is_place, relative
from optchain.lab.settings.table import Table, relative_path

CHAINS = ("optimizer", "chain", "local")  # keys of tables of links, which may hold places


def sources(table: Table, folder: Path) -> list[dict[str, Any]]:
    """The user's objects in a table: the dotted `key` of each, its place, `use`, and its `files` with their SHA-256.

    Args:
        table: such as a configuration.
        folder: to which the paths of files that the table names are relative; those of installed modules are whole.
    """
    found = []
    for key, placed in _objects(table):
        named = placed.use.partition(":")[0].endswith(".py")
        files = {relative_path(file, folder) if named else file: hashed for file, hashed in placed.files.items()}
        found.append({"key": key, "use": relative(placed.use, folder), "files": files})
    return found


def changed(objects: list[dict[str, Any]], folder: Path) -> list[Path]:
    """The files of a run's objects that are not what they were when it began, or are gone."""
    known = {(folder / file).resolve(): hashed for entry in objects for file, hashed in entry["files"].items()}
    return [file for file, hashed in known.items() if _hash(file) != hashed]


def say_changed(about: dict[str, Any], folder: Path) -> None:
    """Say in one line on the standard error which files have changed since a run began, if any.

    Args:
        about: what the run's `run.json` says.
        folder: of the run.
    """
    files = changed(about.get("objects", []), folder)
    if files:
        names = ", ".join(map(str, files))
        print(f"changed since {folder} began, and taken as it is now: {names}", file=sys.stderr, flush=True)


def files_of(table: Table) -> set[str]:
    """The files of the user's objects in a table."""
    return {file for _, placed in _objects(table) for file in placed.files}


def _objects(x: Any, key: str = "", in_chain: bool = False) -> Iterator[tuple[str, Placed]]:
    if isinstance(x, Own):
        yield key, x.placed
    if isinstance(x, Placed):
        yield key, x
    elif isinstance(x, Table | dict):
        for name, inner in x.items() if isinstance(x, dict) else [(name, getattr(x, name)) for name in _fields(x)]:
            yield from _objects(inner, f"{key}.{name}" if key else name, in_chain or name in CHAINS)
    elif isinstance(x, list | tuple):
        for i, inner in enumerate(x):
            yield from _objects(inner, f"{key}.{i}", in_chain)
    elif in_chain and is_place(x) and not x.startswith("optchain"):
        try:
            yield key.removesuffix(".use"), find(x, Path())
        except (
            InputError
        ):  # a text that only looks like a place; where it is one, building the chain says what is wrong
            return


def _fields(table: Table) -> list[str]:
    return [name for name in type(table).model_fields if name != "use"]


def _hash(file: Path) -> str | None:
    return hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else None
