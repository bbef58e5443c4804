"""The tables of a race: optimizers, tasks, and what each task needs of its own."""

import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from optchain import lab


def comparisons_of(path: Path, tasks: Collection[str], changes: Mapping[str, Any]) -> dict[str, lab.Configuration]:
    """The comparison of each task: what all have in common, with what the table of the task says in its place.

    Args:
        path: the file, relative to whose folder its files are.
        tasks: the names of those that are wanted; all if empty.
        changes: other values of every comparison, by dotted key.

    Raises:
        InputError: naming the file, the task, the dotted key, and what was found.
    """
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise lab.InputError(f"{path}: {error}") from None
    known = tables.pop("tasks", {})
    if not known:
        raise lab.InputError(f"{path}: no [tasks.NAME]; a race is over one task or more")
    unknown = [name for name in tasks if name not in known]
    if unknown:
        raise lab.InputError(f"{path}: no task {', '.join(map(repr, unknown))}; there are {', '.join(known)}")
    return {
        name: lab.Configuration(merged(tables, known[name]), changes, folder=path.parent, source=f"{path}: {name}")
        for name in tasks or known
    }


def merged(tables: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables with other values in them, which stand in the place of what had their keys."""
    both = dict(tables)
    for key, value in more.items():
        old = both.get(key)
        both[key] = merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return both
