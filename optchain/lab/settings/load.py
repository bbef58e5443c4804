"""Reading configurations: a file, overrides from the command line, and errors that name the place."""

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import pydantic

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.settings.table import Table

Loaded = TypeVar("Loaded", bound=Table)
OURS = ("missing_kind", "place", "table", "unknown")  # errors whose words are our own already


def load(path: Path | str, table: type[Loaded], sets: list[str] | None = None) -> Loaded:
    """The configuration of a TOML file, or of a `config.json`, with overrides.

    Args:
        path: the file.
        table: what the file describes, such as a run or a comparison.
        sets: overrides, each `dotted.key=value`, written as in TOML: a quoted key keeps its dots. A value that is not
            TOML is a string.

    Raises:
        InputError: naming the file, the dotted key, what was found, and the nearest valid name.
    """
    path, data = Path(path), read(path, sets)
    try:
        return table.model_validate(data, context={"folder": path.parent})
    except pydantic.ValidationError as error:
        overridden = [".".join(_assigned(text)[0]) + "." for text in sets or []]
        lines = []
        for dotted, problem in _once(problems(error)):
            source = (
                "--set"
                if any(f"{dotted}.".startswith(key) or key.startswith(f"{dotted}.") for key in overridden)
                else str(path)
            )
            lines.append(": ".join(filter(None, [source, dotted, problem])))
        raise InputError("\n".join(lines)) from None


def read(path: Path | str, sets: list[str] | None = None) -> dict[str, Any]:
    """What a file says, with overrides; nothing is checked.

    Args:
        path: the file.
        sets: overrides, see `load`.

    Raises:
        InputError: the file cannot be read, or an override not be made.
    """
    data = _read(Path(path))
    for text in sets or []:
        _override(data, text)
    return data


def problems(error: pydantic.ValidationError) -> list[tuple[str, str]]:
    """The dotted key of each problem, empty for the whole table, and what was found and expected there."""
    return [(".".join(map(str, problem["loc"])), _explained(problem)) for problem in error.errors()]


def explained(error: pydantic.ValidationError) -> str:
    """The problems in a line."""
    return "; ".join(": ".join(filter(None, problem)) for problem in problems(error))


def _once(found: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The problems, of which those that the same line of a user's file makes are one, which names the other keys."""
    keys: dict[str, list[str]] = {}
    for dotted, problem in found:
        keys.setdefault(_cause(dotted, problem), []).append(dotted)
    first = {same[0]: "".join(f"; {key} too" for key in same[1:]) for same in keys.values()}
    return [(dotted, f"{problem}{first[dotted]}") for dotted, problem in found if dotted in first]


def _cause(dotted: str, problem: str) -> str:
    """What a file raised, and where, if that is the problem."""
    cause = problem.partition("; ")[2] if problem.startswith("got ") else ""
    return cause if ".py, line " in cause else f"{dotted}: {problem}"


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted keys, in order; a table that is empty is a value."""
    if not isinstance(config, dict) or (prefix and not config):
        return {prefix: config}
    return {
        key: x for name, sub in config.items() for key, x in flat(sub, f"{prefix}.{name}" if prefix else name).items()
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no UTF-8: {error}") from None
    except OSError as error:
        near = sorted(path.parent.glob("*.toml")) if path.parent.is_dir() else sorted(Path("configs").glob("*/*.toml"))
        there = f"; there are {', '.join(map(str, near))}" if near else ""
        raise InputError(f"{path}: {error.strerror}{there}") from None
    try:
        return json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def _override(data: dict[str, Any], text: str) -> None:
    names, value = _assigned(text)
    try:
        put(data, names, tomllib.loads(f"value = {value}")["value"], f"--set {text}")
    except tomllib.TOMLDecodeError:
        put(data, names, value, f"--set {text}")


def put(tables: dict[str, Any], names: list[str], value: Any, source: str) -> None:
    """Change a value of nested tables, or add it.

    Args:
        tables: to be changed.
        names: of the tables on the way, and of the value.
        value: the new one.
        source: of the change, to name in errors.

    Raises:
        InputError: what is on the way is not a table.
    """
    for depth, name in enumerate(names[:-1], 1):
        tables = tables.setdefault(name, {})
        if not isinstance(tables, dict):
            raise InputError(f"{source}: {'.'.join(names[:depth])} is {tables!r}, no table")
    tables[names[-1]] = value


def names_of(key: str) -> list[str] | None:
    """The names in a dotted key, written as in TOML: a quoted one keeps its dots. None if it is not such a key."""
    try:
        table, names = tomllib.loads(f"{key} = true"), []
    except tomllib.TOMLDecodeError:
        return None
    while isinstance(table, dict):
        ((name, table),) = table.items()
        names.append(name)
    return names


def _assigned(text: str) -> tuple[list[str], str]:
    """The parts of an override's key, and its value."""
    for at in (i for i, letter in enumerate(text) if letter == "="):  # a quoted key may hold some
        if (names := names_of(text[:at])) is not None:
            return names, text[at + 1 :].strip()
    raise InputError(
        f'--set {text}: expected dotted.key=value, such as optimizer.lr.peak=1e-3, or space."model.width"={{...}}'
    )


def _explained(error: Any) -> str:
    """What was found and what was expected, in our words where pydantic's do not name the nearest."""
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "literal_error":
        names = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"got {error['input']!r}; {nearest(str(error['input']), names)}"
    if error["type"] in ("dict_type", "model_attributes_type", "model_type"):
        return f"got {error['input']!r}; expected a table"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] in OURS:
        return error["msg"]
    return f"got {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"
