"""What a run writes down: `metrics.jsonl`, all of it, and `metrics.csv`, one row for each evaluation."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import jax
import numpy as np

from optchain.lab.base.files import naming, write_whole


class Logs:
    """The logs of a run.

    `metrics.jsonl` has a row for each step (`step` from 1, `loss` and the metric of its batch, and every `log_every`
    steps `optimizer`, the metrics of the chain), a row for each evaluation (`step` and `evaluation`), one for each
    change by hand (`step`, after which it holds, and `control`, the numbers in force by name), and one for each growth
    of the model (`step`, the first one with the larger model, and `growth`).
    """

    def __init__(self, folder: Path, log_every: int) -> None:
        self.jsonl, self.csv, self.log_every = folder / "metrics.jsonl", folder / "metrics.csv", log_every
        self.columns: list[str] = []  # of the table

    def steps(self, before: int, logs: dict[str, Any]) -> None:
        """Write the rows of the steps after `before`."""
        logs = jax.tree.map(lambda x: np.asarray(x).tolist(), logs)
        optimizer = logs.pop("optimizer")
        rows = []
        for i in range(len(logs["loss"])):
            row = {"step": before + i + 1} | {name: values[i] for name, values in logs.items()}
            if row["step"] % self.log_every == 0:
                row["optimizer"] = {name: values[i] for name, values in optimizer.items()}
            rows.append(row)
        self._append(rows)

    def evaluation(self, row: dict[str, Any]) -> None:
        """Write the row of an evaluation."""
        self._append([{"step": row["step"], "evaluation": row}])
        if set(row) <= set(self.columns):
            with naming(self.csv), self.csv.open("a", newline="") as file:
                csv.DictWriter(file, self.columns, lineterminator="\n").writerow(row)
        else:  # the first row, or the first one after the optimizer was edited
            self._table(read(self.jsonl))

    def control(self, step: int, hyper: dict[str, float]) -> None:
        """Write the row of a change by hand."""
        self._append([{"step": step, "control": hyper}])

    def growth(self, step: int, row: dict[str, Any]) -> None:
        """Write the row of a growth after a step; a run that goes on from there grows again."""
        self._append([{"step": step + 1, "growth": row}])

    def cut(self, step: int) -> None:
        """Remove all rows after a step, as if the run had stopped there."""
        rows = read(self.jsonl) if self.jsonl.exists() else []
        kept = [row for row in rows if row["step"] <= step]
        write_whole(self.jsonl, "".join(map(_line, kept)))
        self._table(kept)

    def _append(self, rows: list[dict[str, Any]]) -> None:
        with naming(self.jsonl), self.jsonl.open("a") as file:
            file.writelines(map(_line, rows))

    def _table(self, rows: list[dict[str, Any]]) -> None:
        """Write the table of all evaluations anew; a column that some do not have is empty there."""
        records = evaluations(rows)
        self.columns = list(dict.fromkeys(name for row in records for name in row))
        with naming(self.csv), self.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            if records:
                writer.writeheader()
            writer.writerows(records)


def _line(row: dict[str, Any]) -> str:
    """A row as JSON, which has no infinities: what is not finite, such as a norm that overflows, becomes null."""
    return json.dumps(_finite(row)) + "\n"


def _finite(x: Any) -> Any:
    """The same with null for what is not finite, in the same order: `jax.tree.map` would sort the keys."""
    if isinstance(x, dict):
        return {name: _finite(part) for name, part in x.items()}
    if isinstance(x, list):
        return [_finite(part) for part in x]
    return None if isinstance(x, float) and not math.isfinite(x) else x


def evaluations(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of the evaluations, of those of a `metrics.jsonl`."""
    return [row["evaluation"] for row in rows if "evaluation" in row]


def write_table(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as CSV, at once or not at all; what a row does not have is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a `metrics.jsonl`. A last line that was cut off in mid-write is left out."""
    lines = path.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1]]
