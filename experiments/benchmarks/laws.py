"""Which laws of composition hold, for all of optchain and optax, and what comes of known defects."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import optax

import optchain as oc
from experiments.benchmarks import record
from experiments.benchmarks.defects import DEFECTS
from experiments.benchmarks.twins import techniques

MARKS = {"holds": ".", "broken": "X", "exempt": "e", "skipped": "-"}
COLUMNS = {"holds": "hold", "exempt": "exempt", "skipped": "n/a", "broken": "broken"}


def run(only: list[str], laws: list[str], out: Path) -> Path:
    """Check, print and record; the path of the record.

    Args:
        only: names of transformations, such as `optax.adam`; all if empty.
        laws: names of laws; all if empty.
        out: file to append the rows to.
    """
    rows = []
    for name, make in transformations():
        if not only or name in only:
            rows.append(row(name, make, laws))
            print(f"{name}: {rows[-1]['broken']} broken", flush=True)
    record.show("Laws (. holds, X broken, e exempt, - not applicable)", [matrix_row(row) for row in rows])
    record.show("Transformations by law", totals(rows))
    record.show("Cells of the matrix", cells(rows))
    if not only and not laws:
        rows += defects()
    record.append(out, rows)
    return out


def defects() -> list[record.Row]:
    """What comes of each known defect, optax beside optchain; printed too."""
    rows = [defect.row() for defect in DEFECTS.values()]
    record.show("Defects of bare optax", rows)
    return rows


def transformations() -> Iterator[tuple[str, Callable[[], Any]]]:
    """Every technique of optchain, and everything of optax's that is made from a learning rate alone."""
    for name, technique in techniques():
        yield f"oc.{name}", lambda technique=technique: technique.make(**technique.example)
    for module, prefix in ((optax, "optax"), (optax.contrib, "optax.contrib")):
        yield from ((f"{prefix}.{name}", make) for name, make in optimizers(module))


def optimizers(module: ModuleType) -> Iterator[tuple[str, Callable[[], Any]]]:
    """The functions of a module whose only required argument is a learning rate."""
    for name, make in vars(module).items():
        if not inspect.isfunction(make) or name.startswith("_") or name.endswith("schedule"):
            continue
        parameters = inspect.signature(make).parameters
        required = {p.name for p in parameters.values() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
        if "learning_rate" in parameters and required <= {"learning_rate"}:
            yield name, lambda make=make: make(learning_rate=0.01)


def row(name: str, make: Callable[[], Any], laws: list[str]) -> record.Row:
    """The outcome of every law for one transformation, and why those that do not hold do not."""
    findings = oc.check_laws(make(), only=laws or None).findings
    return {
        "transformation": name,
        "broken": sum(finding.outcome == "broken" for finding in findings),
        "laws": {finding.law: finding.outcome for finding in findings},
        "reasons": {finding.law: finding.reason for finding in findings if finding.reason},
    }


def matrix_row(row: record.Row) -> record.Row:
    """One line of the matrix, a mark for each law in order."""
    marks = "".join(MARKS[outcome] for outcome in row["laws"].values())
    broken = ", ".join(law for law, outcome in row["laws"].items() if outcome == "broken")
    return {"transformation": row["transformation"], "laws": marks, "broken": broken}


def sides(rows: list[record.Row]) -> dict[str, list[record.Row]]:
    """The rows of optchain and those of optax."""
    ours = [r for r in rows if r["transformation"].startswith("oc.")]
    return {"optchain": ours, "optax": [r for r in rows if r not in ours]}


def totals(rows: list[record.Row]) -> list[record.Row]:
    """How many transformations keep and break each law, optchain's beside optax's."""
    table = []
    for law in rows[0]["laws"]:
        counts = {side: Counter(r["laws"][law] for r in members) for side, members in sides(rows).items()}
        table.append({"law": law} | {f"{side}: {COLUMNS[x]}": counts[side][x] for side in counts for x in COLUMNS})
    return table


def cells(rows: list[record.Row]) -> list[record.Row]:
    """How many transformations there are, and the outcomes under all laws together, as a share too."""
    table = []
    for side, members in sides(rows).items():
        counts = Counter(outcome for r in members for outcome in r["laws"].values())
        shares = {COLUMNS[x]: f"{counts[x]} ({counts[x] / max(counts.total(), 1):.1%})" for x in COLUMNS}
        table.append({"side": side, "transformations": len(members), "cells": counts.total()} | shares)
    return table
