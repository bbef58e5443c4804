"""One piece of advice: a value of the configuration, and why it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from optchain.lab.settings.load import names_of, put


class Advice(NamedTuple):
    """A value at a dotted key of the configuration, and why it."""

    key: str
    value: Any
    why: str


def applied(tables: Mapping[str, Any], advice: Iterable[Advice]) -> dict[str, Any]:
    """Tables with the values that advice says."""
    made = _copied(tables)
    for key, value, _ in advice:
        put(made, names_of(key) or [key], value, key)
    return made


def _copied(tables: Any) -> Any:
    return {key: _copied(x) for key, x in tables.items()} if isinstance(tables, Mapping) else tables
