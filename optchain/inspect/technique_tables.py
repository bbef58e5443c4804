"""The techniques in tables, written from their docstrings: those of the documentation's pages."""

import re
from collections.abc import Callable, Iterator
from typing import Any

import optax

from optchain.core.registry import TECHNIQUE, registered
from optchain.inspect.catalogue import looks_across, optimizers, paper, rules_of, slots
from optchain.inspect.config import mask_schedules, techniques

Makers = dict[str, Callable[..., Any]]


def rooms() -> dict[str, Makers]:
    """The techniques, schedules and mask schedules by name, by the folder in which they stand."""
    found: dict[str, Makers] = {}
    for name, make in sorted((techniques() | mask_schedules()).items()):
        found.setdefault(make.__module__.split(".")[1], {})[name] = make
    return found


def tables_of(makers: Makers) -> list[str]:
    """A table of the techniques among them, a line each, and one of the schedules."""
    made = {name: make for name, make in makers.items() if registered()[name].kind == TECHNIQUE}
    others = {name: make for name, make in makers.items() if name not in made}
    return [_table(rows(some)) for some, rows in ((made, _techniques), (others, _schedules)) if some]


def optimizers_table() -> str:
    """A table of the full optimizers, with the links of each."""
    presets = [
        (f"`{row.name}`", " ".join(f"`{link}`" for link in row.links), f"{row.slots:.3g}", row.looks_across, row.paper)
        for row in optimizers()
    ]
    return _table(iter([("full optimizer", "links", "slots", "mixes", "paper"), *presets]))


def _techniques(makers: dict[str, Any]) -> Iterator[tuple[str, ...]]:
    yield "technique", "what it does", "slots", "mixes", "paper"
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
