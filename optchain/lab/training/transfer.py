"""Beginning from what was learned elsewhere: by a run, or by another program; all parameters or some, by path."""

import re
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optchain.core.paths import matches, nearest
from optchain.lab.base.errors import InputError
from optchain.lab.runs import run
from optchain.lab.settings.start import Start
from optchain.lab.training import layouts, leaves
from optchain.lab.training.evaluate import restore
from optchain.lab.training.scoring import by_path


def transferred(table: Start, fresh: dict[str, Any]) -> dict[str, jax.Array]:
    """What is taken over, by its path: parameters (of a run those of the model that counts), and the rest of the model.

    Args:
        table: from where, and which.
        fresh: the model before the first step, `params` and `rest` of the module itself, for paths and shapes.

    Raises:
        InputError: no such source, a pattern that fits nothing, or parameters that it lacks or has in other shapes.
    """
    targets = by_path(fresh)
    for key, patterns in (("only", table.only), ("exclude", table.exclude)):
        for pattern in patterns:
            if not any(matches(path, pattern) for path in targets):
                raise InputError(f"start.{key}: {pattern!r} fits no parameter; {nearest(pattern, targets)}")
    (kind, place), wanted = table.source, [path for path in targets if _fits(path, table)]
    sources = renamed(_found(kind, place), table.renames)
    if table.layout == "torch":
        sources = layouts.from_torch(sources, targets)
    wrong = [problem for path in wanted if (problem := _problem(path, targets[path], sources))]
    if wrong:
        cure = "leave them out with start.exclude, choose others with start.only, or say in start.renames what they are"
        lines = [f"start.{kind}: not all parameters are those of {place}; {cure}:", *wrong]
        advice = layouts.advice(wanted, targets, sources, table.layout == "torch") if kind != "run" else []
        raise InputError("\n".join(lines + advice + _prefix(wanted, sources)))
    return {path: sources[path].astype(targets[path].dtype) for path in wanted}


def renamed(arrays: dict[str, Any], renames: dict[str, str]) -> dict[str, Any]:
    """Arrays by their new paths.

    Raises:
        InputError: a pattern fits no path, or two arrays get the same path.
    """
    new: dict[str, Any] = {}
    old: dict[str, str] = {}
    for pattern in renames:
        if not any(_parts(path, pattern) for path in arrays):
            raise InputError(f"start.renames: {pattern!r} fits no array there; {nearest(pattern, arrays)}")
    for path, x in arrays.items():
        name = next((name for pair in renames.items() if (name := _renamed(path, *pair)) is not None), path)
        if name in new:
            raise InputError(f"start.renames: both {old[name]!r} and {path!r} become {name!r}")
        new[name], old[name] = x, path
    return new


def _found(kind: str, place: str) -> dict[str, Any]:
    """The arrays of a source by path."""
    try:
        if kind == "run":
            return by_path(restore(run.find(Path(place))).whole)
        return leaves.read(Path(place)) if kind == "file" else leaves.of_checkpoint(Path(place))
    except InputError as error:
        raise InputError(f"start.{kind}: {error}") from error


def _renamed(path: str, old: str, new: str) -> str | None:
    """The new path, or None if the pattern does not fit."""
    found = _parts(path, old)
    if found is None:
        return None
    pieces = new.split("*")
    return "".join(piece + part for piece, part in zip(pieces, [*found.groups(), ""], strict=True))


def _parts(path: str, pattern: str) -> re.Match[str] | None:
    return re.fullmatch("(.*)".join(map(re.escape, pattern.split("*"))), path)


def _fits(path: str, table: Start) -> bool:
    chosen, left_out = (any(matches(path, x) for x in patterns) for patterns in (table.only, table.exclude))
    return chosen and not left_out


def _problem(path: str, target: Any, sources: dict[str, Any]) -> str | None:
    """Why a parameter cannot be taken over, in a line; None if it can."""
    if path not in sources:
        hint = nearest(path, sources, show=3)
        return f"  {path}: absent there, {_shape(target)} here; there: {hint.removeprefix('valid: ')}"
    source = sources[path]
    if source.shape != target.shape:
        return f"  {path}: {_shape(source)} there, {_shape(target)} here"
    floating = [jax.numpy.issubdtype(x.dtype, np.floating) for x in (source, target)]
    return None if floating[0] == floating[1] else f"  {path}: {source.dtype} there, {target.dtype} here"


def _prefix(wanted: list[str], sources: dict[str, Any]) -> list[str]:
    """A line that says how to rename, where all arrays stand below one and the same path there."""
    first = next((path for path in wanted if path not in sources), None)
    for name in sources if first is not None else ():
        prefix = name.removesuffix(f"/{first}")
        if prefix != name and all(path in sources or f"{prefix}/{path}" in sources for path in wanted):
            return [f'they stand below {prefix!r} there: renames = {{ "{prefix}/*" = "*" }}']
    return []


def _shape(array: Any) -> str:
    return " x ".join(map(str, array.shape)) or "a number"
