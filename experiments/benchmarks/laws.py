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

MARKS = {"holds": ".", "broken": "X", "skipped": "-"}


def run(only: list[str], out: Path) -> Path:
    """Check, print and record; the path of the record.

    Args:
        only: names of transformations, such as `optax.adam`; all if empty.
        out: file to append the rows to.
    """
    rows = []
    for name, make in transformations():
        if not only or name in only:
            rows.append(row(name, make))
            print(f"{name}: {rows[-1]['broken']} broken", flush=True)
    record.show("Laws (. holds, X broken, - skipped)", [matrix_row(row) for row in rows])
    record.show("Broken laws", totals(rows))
    if not only:
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


def row(name: str, make: Callable[[], Any]) -> record.Row:
    """The outcome of every law for one transformation, and why the broken ones are."""
    findings = oc.check_laws(make()).findings
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


def totals(rows: list[record.Row]) -> list[record.Row]:
    """How many transformations break each law, ours beside optax's."""
    sides = {"optchain": [r for r in rows if r["transformation"].startswith("oc.")]}
    sides["optax"] = [r for r in rows if r not in sides["optchain"]]
    counts = {
        side: Counter(law for r in members for law, x in r["laws"].items() if x == "broken")
        for side, members in sides.items()
    }
    laws = [{"law": law} | {side: counts[side][law] for side in sides} for law in rows[0]["laws"]]
    return [*laws, {"law": "transformations"} | {side: len(members) for side, members in sides.items()}]
