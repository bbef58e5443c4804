"""Named columns of a table, as rows of numbers: categories by their numbers, NaN where a value is missing."""

import csv
import dataclasses
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the inputs."""

    name: str
    known: list[str] | None = None  # the categories, sorted; None if its values are numbers
    normal: bool = False  # whether texts of the same whole number, 1 and 1.0, are the same category
    booleans: bool = False  # whether the texts true and false are numbers


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a table that are inputs, in their order."""

    columns: list[Column]
    missing: list[str]  # texts that mean a missing value, as the empty text does
    separator: str = ","  # between the cells of a file

    def takes(self, raw: Any) -> bool:
        """Whether inputs are columns by their names."""
        return isinstance(raw, dict)

    def read(self, path: Path) -> dict[str, list[str]]:
        """The columns of a CSV file."""
        with path.open(newline="", encoding="utf-8-sig") as file:
            names, *rows = (row for row in csv.reader(file, delimiter=self.separator) if row)
        for number, row in enumerate(rows, 1):
            if len(row) != len(names):
                raise ValueError(f"{path}: row {number} has {len(row)} cells; expected {len(names)}")
        return {name.strip(): [row[i] for row in rows] for i, name in enumerate(names)}

    def __call__(self, raw: dict[str, Sequence[Any]]) -> np.ndarray:
        """Rows of numbers; other columns are passed over.

        Raises:
            ValueError: naming the column that is not there, or the row whose value cannot be used.
        """
        lacking = [column.name for column in self.columns if column.name not in raw]
        if lacking:
            raise ValueError(f"there is no column {', '.join(map(repr, lacking))}; got {', '.join(map(str, raw))}")
        sizes = {column.name: len(raw[column.name]) for column in self.columns}
        if len(set(sizes.values())) > 1:
            raise ValueError(f"the columns have {sizes} values; expected as many in each")
        return np.array([self._numbers(column, raw[column.name]) for column in self.columns], np.float64).T

    def _numbers(self, column: Column, cells: Sequence[Any]) -> list[float]:
        cells = [None if self._is_missing(cell) else cell for cell in cells]
        if column.known is None:
            return [_number(column, row, cell) for row, cell in enumerate(cells)]
        codes = {value: float(code) for code, value in enumerate(column.known)}
        texts = [None if cell is None else _text(cell, column.normal) for cell in cells]
        new = {text: None for text in texts if text is not None and text not in codes}
        if new:
            said = ", ".join(map(repr, new))
            warnings.warn(f"column {column.name!r}: {said} not in training; counted as no category", stacklevel=3)
        return [float("nan") if text is None else codes.get(text, -1.0) for text in texts]

    def _is_missing(self, cell: Any) -> bool:
        if isinstance(cell, str):
            return cell.strip() in ("", *self.missing)
        return cell is None or cell != cell  # as NaN


def _number(column: Column, row: int, cell: Any) -> float:
    if cell is None:
        return float("nan")
    if isinstance(cell, str) and column.booleans:
        cell = {"true": "1", "false": "0"}.get(cell.strip().lower(), cell)
    try:
        number = float(cell)
    except (TypeError, ValueError):
        number = float("inf")
    if not np.isfinite(number):
        raise ValueError(f"column {column.name!r}, row {row} (from 0): got {cell!r}; expected a finite number")
    return number


def _text(cell: Any, normal: bool) -> str:
    """A value as the categories of training are written."""
    if isinstance(cell, bool | np.bool_):
        return str(cell).lower()
    text = cell.strip() if isinstance(cell, str) else str(cell)
    if isinstance(cell, str) and (not normal or re.match(r"[+-]?0\d", text)):  # 007 is not 7
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return str(int(number)) if number == np.floor(number) and abs(number) < 2**53 else text
