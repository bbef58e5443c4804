"""The file of a suggestion: TOML, with the reason above each number."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from optchain.lab.probes.advice.advice import Advice
from optchain.lab.probes.advice.suggest import Suggestion


def text(suggestion: Suggestion, command: str) -> str:
    """The configuration, table by table.

    Args:
        suggestion: what is written.
        command: that trains it.
    """
    reasons = {one.key: one.why for one in suggestion.advice}
    lines = [f"# {command}", f"# What has no reason above it is that of {Path(suggestion.source).name}."]
    for table, values in _tables(suggestion.tables):
        lines += ["", f"[{table}]"]
        for name, value in values.items():
            why = reasons.get(f"{table}.{_key(name)}")
            lines += [f"# {why}"] if why else []
            lines.append(f"{_key(name)} = {_shown(value)}")
    return "\n".join(lines) + "\n"


def lines(advice: Sequence[Advice]) -> list[str]:
    """The advice in plain lines, each with its reason."""
    return [f"{one.key} = {_shown(one.value)}\n    {one.why}" for one in advice]


def _tables(tables: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each table with its plain values, those of a table before its sub-tables."""
    values = {name: x for name, x in tables.items() if not isinstance(x, dict)}
    if prefix and (values or not tables):
        yield prefix, values
    for name, inner in tables.items():
        if isinstance(inner, dict):
            yield from _tables(inner, f"{prefix}.{_key(name)}" if prefix else _key(name))


def _key(name: str) -> str:
    return tomli_w.dumps({name: 0}).rpartition(" = ")[0]


def _shown(value: Any) -> str:
    """A plain value as TOML writes it; a list in one line."""
    if isinstance(value, list):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(name)} = {_shown(x)}' for name, x in value.items())} }}"
    return tomli_w.dumps({"x": value}).partition(" = ")[2].strip()
