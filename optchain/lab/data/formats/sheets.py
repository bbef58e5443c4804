"""Files of rows and columns as they are read, with the place of each row in the file."""

import csv
import functools
import io
import itertools
import operator
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats.places import require_file, some, warn

SEPARATORS = (";", "\t", "|", ",")
csv.field_size_limit(2**31 - 1)  # a cell may hold a long text
FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


class Sheet(NamedTuple):
    """The columns of a file."""

    frame: pl.DataFrame
    at: str  # how errors begin
    place: Callable[[int], str]  # of a row, as the user counts it
    typed: bool  # whether the file says what is a text and what a number


def read_parquet(path: Path, at: str) -> Sheet:
    """A Parquet file.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    require_file(path, at)
    try:
        frame = pl.read_parquet(path, glob=False)
    except FAILURES as error:
        raise InputError(f"{at}{path}: cannot be read as Parquet: {_first_line(error)}") from None
    if not len(frame):
        raise InputError(f"{at}{path}: has no rows")
    return Sheet(frame, f"{at}{path}", lambda row: f"row {row + 1}", typed=True)


def read_csv(path: Path, separator: str, at: str) -> Sheet:
    """A CSV file, all cells as texts. Columns without a name are left out, which is said in one line.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    require_file(path, at)
    raw = _utf8(path, at)
    names = _header(raw, separator, path, at)
    lines = functools.cache(lambda: _lines(raw, separator))
    try:
        cells = pl.read_csv(io.BytesIO(raw.lstrip(b"\r\n")), separator=separator, has_header=False, infer_schema=False)[
            1:
        ]
    except FAILURES:  # also because of a quote within a cell, such as 5" pipe
        _require_whole_rows(raw, separator, len(names), path, at)
        cells = _slowly(raw, separator)
    if len(names) > 1 and len(cells) and cells[:, -1].has_nulls():  # so ends a row that is too short
        _require_whole_rows(raw, separator, len(names), path, at)
    kept = _not_blank(cells, lines)
    if not len(kept):
        raise InputError(f"{at}{path}: has a line of names and no rows")
    if "" in names:
        numbers = ", ".join(str(number) for number, name in enumerate(names, 1) if not name)
        warn(f"{path}: column {numbers} has no name; left out")
    named = {name: cells[:, position] for position, name in enumerate(names) if name}
    frame = pl.DataFrame(named)
    if len(kept) < len(cells):
        frame = frame[kept]
    return Sheet(frame, f"{at}{path}", lambda row: f"line {lines()[kept[row] + 1][0]}", typed=False)


def _slowly(raw: bytes, separator: str) -> pl.DataFrame:
    """The cells as Python's own reader finds them, without the header; null where they are empty."""
    header, *rows = itertools.dropwhile(operator.not_, _rows(raw, separator))
    rows = [row or [""] * len(header) for row in rows]
    columns = [[cell or None for cell in column] for column in zip(*rows, strict=True)] or [[] for _ in header]
    return pl.DataFrame([pl.Series(str(at), column, pl.String) for at, column in enumerate(columns)])


def _not_blank(cells: pl.DataFrame, lines: Callable[[], list[tuple[int, int]]]) -> np.ndarray:
    """The rows that are not empty lines. In a file of one column an empty line is a missing value."""
    rows = np.arange(len(cells))
    if cells.width == 1 or not len(cells):
        return rows
    empty = cells.select(pl.all_horizontal(pl.all().is_null())).to_series().arg_true()
    return np.delete(rows, [row for row in empty if lines()[row + 1][1] == 0])


def _utf8(path: Path, at: str) -> bytes:
    """The bytes of the file, without the mark at its beginning."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{at}{path}: cannot be read: {error.strerror}") from None
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        byte = f"byte 0x{raw[error.start]:02x} in line {line}"
        raise InputError(f"{at}{path}: is not UTF-8 ({byte}); save it as UTF-8") from None
    raw = raw.removeprefix(b"\xef\xbb\xbf")
    if not raw.strip():
        raise InputError(f"{at}{path}: is empty; expected a line of names and one row per example")
    return raw if b"\n" in raw else raw.replace(b"\r", b"\n")


def _header(raw: bytes, separator: str, path: Path, at: str) -> list[str]:
    """The names of the columns."""
    first = next(row for row in _rows(raw, separator) if row)
    names = [name.strip() for name in first]
    if len(names) == 1:
        others = {other: names[0].count(other) for other in SEPARATORS if other != separator}
        likely = max(others, key=lambda other: others[other])
        if others[likely]:
            found = f"the first line has no {separator!r} and {others[likely]} times {likely!r}"
            expected = f'expected separator = "{likely}"'.replace("\t", "\\t")
            raise InputError(f"{at}{path}: {found}; {expected}")
    twice = [name for name, count in Counter(names).items() if name and count > 1]
    if twice:
        raise InputError(f"{at}{path}: has several columns of the name {some(twice)}; expected distinct names")
    return names


def _rows(raw: bytes, separator: str, strict: bool = False):
    """A reader of the rows; its `line_num` counts the lines that it has read."""
    text = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")
    return csv.reader(text, delimiter=separator, strict=strict)


def _lines(raw: bytes, separator: str) -> list[tuple[int, int]]:
    """The first line of each row, the header among them, and how many cells the row has."""
    lines, next_line = [], 1
    reader = _rows(raw, separator)
    for row in reader:
        if lines or row:  # empty lines before the header are no rows
            lines.append((next_line, len(row)))
        next_line = reader.line_num + 1
    return lines


def _require_whole_rows(raw: bytes, separator: str, width: int, path: Path, at: str) -> None:
    """Every row has as many cells as the header, or none."""
    reader, next_line = _rows(raw, separator, strict=True), 1
    try:
        for row in reader:
            if row and len(row) != width:
                cure = "put texts that hold the separator in double quotes"
                expected = f"expected {width}, as in the line of names; {cure}"
                raise InputError(f"{at}{path}: line {next_line} has {len(row)} cells; {expected}")
            next_line = reader.line_num + 1
    except csv.Error as error:
        if "unexpected end of data" in str(error):
            raise InputError(f"{at}{path}: line {next_line} opens a quote that is never closed") from None
        raise InputError(f"{at}{path}: line {next_line}: {error}") from None


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
