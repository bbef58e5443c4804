"""The tables of docs/coming-from-optax.md that say which arguments are the same, written from the signatures."""

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import optchain
from optchain.core.elsewhere import elsewhere, parameters
from optchain.inspect.stubs import exports

BEGIN, END = "<!-- written by `make tables` -->", "<!-- end of what `make tables` writes -->"
BY_POSITION = inspect.Parameter.POSITIONAL_OR_KEYWORD
LINKS = "chain"  # takes links by position on both sides, and names here


def shared() -> list[str]:
    """The public names that optax or optax.contrib has too, of functions."""
    return sorted(name for name in exports() if name != LINKS and parameters(name) is not None)


def tables() -> str:
    """The arguments of each function, and where those of optax are found that it does not have."""
    alike, rows, places = [], [], {}
    for name in shared():
        ours = dict(inspect.signature(getattr(optchain, name)).parameters)
        theirs = parameters(name) or {}
        for missing in theirs.keys() - ours.keys():
            places.setdefault((missing, elsewhere(name, missing)), []).append(name)
        row = _row(name, ours, theirs)
        if any(row[2:]):
            rows.append(row)
        else:
            alike.append(f"`{name}`")
    header = ("function", "by position, as in optax", "by name", "another default", "only in optax")
    found = [(f"`{x}`", _names(sorted(functions)), f"{place}") for (x, place), functions in sorted(places.items())]
    return "\n\n".join(
        [
            "Apart from the `mask` of techniques, these have the same arguments as in optax, in the same positions: "
            f"{', '.join(alike)}.",
            _table([header, *rows]),
            "What to use instead of an argument that only optax has:",
            _table([("argument", "of", "here"), *found]),
        ]
    )


def written(text: str) -> str:
    """The page with its tables."""
    if (text.count(BEGIN), text.count(END)) != (1, 1):
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r} once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{tables()}\n\n{END}{rest.split(END)[1]}"


def _row(name: str, ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> tuple[str, ...]:
    positional = [x for x, p in ours.items() if p.kind is BY_POSITION]
    by_name = [x for x, p in ours.items() if p.kind is not BY_POSITION and (x in theirs or x != "mask")]
    return (
        f"`{name}`",
        _names(positional),
        _names(by_name),
        ", ".join(_defaults(ours, theirs)),
        _names([x for x in theirs if x not in ours]),
    )


def _defaults(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> Iterator[str]:
    for name, p in ours.items():
        if name in theirs and p.default != theirs[name].default:
            here = "required" if p.default is p.empty else _shown(p.default)
            yield f"`{name}`: {here}" + ("" if isinstance(p.default, tuple) else f" for {theirs[name].default}")


def _shown(default: Any) -> str:
    return "the same, as one of optchain's" if isinstance(default, tuple) else f"{default}"


def _names(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _table(rows: Sequence[Sequence[str]]) -> str:
    header, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in [header, ["---"] * len(header), *rest])


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text()))
