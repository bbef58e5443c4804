"""The tables of README.md, written from the techniques and their docstrings: `make readme`."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optax

from optchain.core.registry import TECHNIQUE, registered
from optchain.inspect.catalogue import looks_across, optimizers, paper, rules_of, slots
from optchain.inspect.config import mask_schedules, techniques

BEGIN, END = "<!-- written by `make readme` -->", "<!-- end of what `make readme` writes -->"


def tables() -> str:
    """For each folder a table of its techniques and one of its schedules, a line each; then the full optimizers."""
    parts = []
    for room, makers in rooms().items():
        if room != "presets":
            parts += [f"### {room}/", *tables_of(makers)]
    presets = [
        (f"`{row.name}`", " ".join(f"`{link}`" for link in row.links), f"{row.slots:.3g}", row.looks_across, row.paper)
        for row in optimizers()
    ]
    header = ("full optimizer", "links", "slots", "looks across", "paper")
    return "\n\n".join([*parts, "### presets/", _table(iter([header, *presets]))])


def rooms() -> dict[str, dict[str, Callable[..., Any]]]:
    """The techniques, schedules and mask schedules by name, by the folder in which they stand."""
    found: dict[str, dict[str, Callable[..., Any]]] = {}
    for name, make in sorted((techniques() | mask_schedules()).items()):
        found.setdefault(make.__module__.split(".")[1], {})[name] = make
    return found


def tables_of(makers: dict[str, Callable[..., Any]]) -> list[str]:
    """A table of the techniques among them, and one of the schedules."""
    made = {name: make for name, make in makers.items() if registered()[name].kind == TECHNIQUE}
    others = {name: make for name, make in makers.items() if name not in made}
    return [_table(rows(some)) for some, rows in ((made, _techniques), (others, _schedules)) if some]


def written(text: str) -> str:
    """The README with its tables."""
    return replaced(text, tables())


def replaced(text: str, content: str) -> str:
    """A text with other content between the two marks.

    Raises:
        ValueError: the marks do not stand in it once each.
    """
    if (text.count(BEGIN), text.count(END)) != (1, 1):
        raise ValueError(f"expected the lines {BEGIN!r} and {END!r} once each")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n\n{content}\n\n{END}{rest.split(END)[1]}"


def _techniques(makers: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield "technique", "what it does", "slots", "looks across", "paper"
    for name, make in makers.items():
        example = registered()[name].example
        tx = make(**example)
        inner = [x for x in example.values() if isinstance(x, optax.GradientTransformation)]
        # A wrapper's own slots and reference are not those of what it stands around in the example.
        own = max(0.0, slots(tx) - sum(map(slots, inner)))
        documents = [make, *(() if inner else map(type, rules_of(tx)))]
        references = [reference for x in documents if (reference := paper(x.__doc__ or ""))]
        across = "-" if inner else looks_across(tx)
        yield f"`{name}`", _first_line(make), f"{own:.2g}", across, references[0] if references else ""


def _schedules(makers: dict[str, Callable[..., Any]]) -> Iterator[tuple[str, ...]]:
    yield "schedule", "what it does", "paper"
    for name, make in makers.items():
        yield f"`{name}`", _first_line(make), paper(make.__doc__ or "")


def _first_line(make: Callable[..., Any]) -> str:
    return (make.__doc__ or "").strip().splitlines()[0].rstrip(".")


def _table(rows: Iterator[tuple[str, ...]]) -> str:
    header = next(rows)
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join(f"| {' | '.join(map(_linked, line))} |" for line in lines)


def _linked(cell: str) -> str:
    return re.sub(r"^arXiv:(\S+)$", r"[\1](https://arxiv.org/abs/\1)", cell)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text()))
