"""Configurations: a file, overrides from the command line, and errors that name the place."""

import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import pydantic

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess import STEPS
from optchain.lab.settings.tables import Config, Table

Loaded = TypeVar("Loaded", bound=Table)


def load(path: Path | str, sets: list[str] | None = None, table: type[Loaded] = Config) -> Loaded:
    """The configuration of a TOML file, or of a `config.json`, with overrides.

    Args:
        path: the file.
        sets: overrides, each `dotted.key=value`, written as in TOML: a quoted key keeps its dots. A value that is not
            TOML is a string.
        table: what the file describes, a run or a comparison.

    Raises:
        InputError: naming the file, the dotted key, what was found, and the nearest valid name.
    """
    path, data = Path(path), _read(Path(path))
    for text in sets or []:
        _override(data, text)
    try:
        return table.model_validate(data)
    except pydantic.ValidationError as error:
        overridden = [".".join(_assigned(text)[0]) + "." for text in sets or []]
        lines = []
        for dotted, problem in problems(error, table):
            source = (
                "--set"
                if any(f"{dotted}.".startswith(key) or key.startswith(f"{dotted}.") for key in overridden)
                else str(path)
            )
            lines.append(": ".join(filter(None, [source, dotted, problem])))
        raise InputError("\n".join(lines)) from None


def problems(error: pydantic.ValidationError, table: type[Table] = Config) -> list[tuple[str, str]]:
    """The dotted key of each problem, empty for the whole table, and what was found and expected there."""
    return [(".".join(map(str, _place(problem, table))), _explained(problem, table)) for problem in error.errors()]


def explained(error: pydantic.ValidationError, table: type[Table] = Config) -> str:
    """The problems in a line."""
    return "; ".join(": ".join(filter(None, problem)) for problem in problems(error, table))


def flat(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of nested tables by their dotted keys, in order; a table that is empty is a value."""
    if not isinstance(config, dict) or (prefix and not config):
        return {prefix: config}
    return {
        key: x for name, sub in config.items() for key, x in flat(sub, f"{prefix}.{name}" if prefix else name).items()
    }


def differences(old: Config, new: Config) -> list[str]:
    """One line for each key whose value differs, or for another order of the links."""
    a, b = flat(old.model_dump()), flat(new.model_dump())
    lines = [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in dict.fromkeys([*a, *b])
        if key not in a or key not in b or a[key] != b[key]
    ]
    for table, what, x, y in (
        ("preprocess", "steps", old.preprocess or {}, new.preprocess or {}),
        ("optimizer", "links", old.optimizer, new.optimizer),
    ):
        common = [[key for key in keys if key in others and key.startswith(table)] for keys, others in ((a, b), (b, a))]
        if common[0] != common[1]:
            lines.append(f"{table}: the {what} in the order {', '.join(x)} -> {', '.join(y)}")
    return lines


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
    (*parents, last), value = _assigned(text)
    table = data
    for depth, name in enumerate(parents, 1):
        table = table.setdefault(name, {})
        if not isinstance(table, dict):
            raise InputError(f"--set {text}: {'.'.join(parents[:depth])} is {table!r}, no table")
    try:
        table[last] = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        table[last] = value


def _assigned(text: str) -> tuple[list[str], str]:
    """The parts of an override's key, and its value."""
    for at in (i for i, letter in enumerate(text) if letter == "="):  # a quoted key may hold some
        try:
            table, names = tomllib.loads(f"{text[:at]} = true"), []
        except tomllib.TOMLDecodeError:
            continue
        while isinstance(table, dict):
            ((name, table),) = table.items()
            names.append(name)
        return names, text[at + 1 :].strip()
    raise InputError(
        f'--set {text}: expected dotted.key=value, such as optimizer.lr.peak=1e-3, or space."model.width"={{...}}'
    )


def _place(error: Any, table: type[Table]) -> tuple[Any, ...]:
    """The keys that lead to an error. Pydantic also says as which of several tables it read one."""
    place = tuple(name for name, is_key in _walk(error["loc"], table)[0] if is_key)
    return (*place, "use") if error["type"] in ("union_tag_invalid", "union_tag_not_found") else place


def _explained(error: Any, table: type[Table]) -> str:
    """What was found and what was expected, in our words where pydantic's do not name the nearest."""
    from optchain.core.paths import nearest

    *parents, last = error["loc"] or ("",)
    if error["type"] == "extra_forbidden":
        return f"unknown key; {nearest(str(last), _fields(parents, table))}"
    if error["type"] == "missing":
        return "missing"
    if error["type"] == "literal_error":
        names = [part.strip(" '") for part in error["ctx"]["expected"].replace(" or ", ", ").split(",")]
        return f"got {error['input']!r}; {nearest(str(error['input']), names)}"
    if error["type"] == "union_tag_invalid":
        kinds = [kind.strip(" '") for kind in error["ctx"]["expected_tags"].split(",")]
        return f"got {error['ctx']['tag']!r}; {nearest(error['ctx']['tag'], kinds)}"
    if error["type"] == "union_tag_not_found":
        return f"missing; {nearest('', STEPS)}" if parents == ["preprocess"] else "missing"
    if error["type"] in ("dict_type", "model_attributes_type", "model_type"):
        return f"got {error['input']!r}; expected a table"
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    return f"got {error['input']!r}; {error['msg'][0].lower()}{error['msg'][1:]}"


def _fields(parents: list[Any], table: type[Table]) -> list[str]:
    """The keys of the table that the parents lead to."""
    return list(_walk(parents, table)[1].model_fields)


def _walk(place: Sequence[Any], kind: Any) -> tuple[list[tuple[Any, bool]], Any]:
    """Each part of a place with whether it is a key or says which of several tables was read; and the type there."""
    parts = []
    for name in place:
        if get_origin(kind) in (Union, UnionType) and not _tables(kind):  # what may be left out
            kind = next(member for member in get_args(kind) if member is not type(None))
        tables = _tables(kind)
        is_key = len(tables) < 2
        parts.append((name, is_key))
        if not is_key:
            kind = next((table for table in tables if name in _uses(table)), None)
        elif tables:
            field = tables[0].model_fields.get(name)
            kind = field.annotation if field else None
        else:
            kind = get_args(kind)[-1] if get_origin(kind) in (dict, list) else None
    return parts, next(iter(_tables(kind)), Table)


def _tables(kind: Any) -> list[type[Table]]:
    """The tables that a type may be."""
    if isinstance(kind, type) and issubclass(kind, Table):
        return [kind]
    if get_origin(kind) is Annotated:
        return _tables(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return [table for member in get_args(kind) for table in _tables(member)]
    return []


def _uses(table: type[Table]) -> tuple[Any, ...]:
    """What a table's `use` may be."""
    return get_args(table.model_fields["use"].annotation)
