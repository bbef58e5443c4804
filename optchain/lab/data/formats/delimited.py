"""A CSV file, read some rows at a time, so that it may be larger than memory."""

import csv
import io
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import polars as pl

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats.places import require_file, some, warn

SEPARATORS = (";", "\t", "|", ",")
BLOCK = 16 * 2**20  # bytes of the file that are read at once
ROWS = 50_000  # read at once where polars cannot
MARK = b"\xef\xbb\xbf"  # at the beginning of a file
T = TypeVar("T")
csv.field_size_limit(2**31 - 1)  # a cell may hold a long text


class _NotForPolars(Exception):
    """Some rows, such as those with a quote within a cell (5" pipe), which Python's own reader may understand."""


class _Piece(NamedTuple):
    """Whole rows of the file, of which the first piece begins with that of the names."""

    raw: bytes
    line: int  # of the file, at which it begins


class Delimited:
    """A CSV file in UTF-8: a line of names, and rows of as many cells.

    Raises:
        InputError: it cannot be read, is empty, or has names that are not distinct.
    """

    def __init__(self, path: Path, separator: str, at: str) -> None:
        require_file(path, at)
        self.path, self.separator, self.at = path, separator, f"{at}{path}"
        if next(self._pieces(), None) is None:
            raise InputError(f"{self.at}: is empty; expected a line of names and one row per example")
        self.names = self._header()

    def read(self, take: Callable[[Iterator[pl.DataFrame]], T]) -> T:
        """What is made of the rows, which come some at a time in their order: all cells as texts, null where empty.

        Columns without a name are left out, which is said in one line. Empty lines are skipped; in a file of one column
        they are missing values.

        Args:
            take: is called a second time, with all rows again, if it was called with some that only Python's own reader
                understands.

        Raises:
            InputError: the file is not UTF-8, or a row has more or less cells than there are names.
        """
        if "" in self.names:
            numbers = ", ".join(str(number) for number, name in enumerate(self.names, 1) if not name)
            warn(f"{self.path}: column {numbers} has no name; left out")
        try:
            return take(map(self._named, self._by_polars()))
        except _NotForPolars:
            with self._text() as text:
                self._require_whole_rows(text, 1)
            return take(map(self._named, self._by_python()))

    def line(self, row: int) -> int:
        """The line of the file at which a row begins, by the number of the row from 0."""
        with self._text() as text:
            reader, next_line, number = csv.reader(text, delimiter=self.separator), 1, -2
            for cells in reader:
                # Empty lines before the names are no rows.
                number += bool(cells) or (number > -2 and len(self.names) == 1)
                if number == row:
                    break
                next_line = reader.line_num + 1
            return next_line

    def _text(self) -> io.TextIOWrapper:
        return self.path.open(encoding="utf-8-sig", errors="replace", newline="")

    def _header(self) -> list[str]:
        """The names of the columns."""
        with self._text() as text:
            names = [name.strip() for name in next(row for row in csv.reader(text, delimiter=self.separator) if row)]
        if len(names) == 1:
            others = {other: names[0].count(other) for other in SEPARATORS if other != self.separator}
            likely = max(others, key=lambda other: others[other])
            if others[likely]:
                found = f"the first line has no {self.separator!r} and {others[likely]} times {likely!r}"
                expected = f'expected separator = "{likely}"'.replace("\t", "\\t")
                raise InputError(f"{self.at}: {found}; {expected}")
        twice = [name for name, count in Counter(names).items() if name and count > 1]
        if twice:
            raise InputError(f"{self.at}: has several columns of the name {some(twice)}; expected distinct names")
        return names

    def _named(self, cells: pl.DataFrame) -> pl.DataFrame:
        return pl.DataFrame({name: cells[:, position] for position, name in enumerate(self.names) if name})

    def _by_polars(self) -> Iterator[pl.DataFrame]:
        width = len(self.names)
        before = self.separator.join("x" * width).encode() + b"\n"  # says how many columns there are
        for number, piece in enumerate(self._pieces()):
            try:
                cells = pl.read_csv(
                    io.BytesIO(before + piece.raw), separator=self.separator, has_header=False, infer_schema=False
                )[1 + (number == 0) :]
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
                raise _NotForPolars from None
            if cells.width != width:
                raise _NotForPolars
            if width > 1 and len(cells) and cells[:, -1].has_nulls():  # so ends a row that is too short
                self._require_whole_rows(self._lines(piece.raw), piece.line)
            yield self._not_blank(cells, piece.raw, number == 0)

    def _not_blank(self, cells: pl.DataFrame, raw: bytes, is_first: bool) -> pl.DataFrame:
        """The rows that are not empty lines. In a file of one column an empty line is a missing value."""
        if cells.width == 1 or not len(cells):
            return cells
        empty = cells.select(pl.all_horizontal(pl.all().is_null())).to_series().arg_true()
        if not len(empty):
            return cells
        counts = [len(row) for row in csv.reader(self._lines(raw), delimiter=self.separator)][is_first:]
        return cells[np.delete(np.arange(len(cells)), [row for row in empty if counts[row] == 0])]

    def _by_python(self) -> Iterator[pl.DataFrame]:
        with self._text() as text:
            width, reader = len(self.names), csv.reader(text, delimiter=self.separator)
            next(row for row in reader if row)  # the names
            filled = (row or [""] for row in reader if row or width == 1)
            while rows := list(itertools.islice(filled, ROWS)):
                columns = [[cell or None for cell in column] for column in zip(*rows, strict=True)]
                yield pl.DataFrame([pl.Series(str(at), column, pl.String) for at, column in enumerate(columns)])

    def _pieces(self) -> Iterator[_Piece]:
        """The file in pieces of whole rows, after the mark and the empty lines at its beginning.

        A row ends at an end of line before which there are as many quotes that open as that close.
        """
        try:
            with self.path.open("rb") as file:
                first = file.read(BLOCK).removeprefix(MARK)
                only_returns = b"\r" in first and b"\n" not in first
                rest, line, begun = b"", 1, False
                for chunk in itertools.chain([first], iter(lambda: file.read(BLOCK), b"")):
                    rest += chunk.replace(b"\r", b"\n") if only_returns else chunk
                    end = _end_of_rows(rest)
                    if not end and len(rest) > 8 * BLOCK:
                        self._require_utf8(rest, line)
                        raise _NotForPolars
                    raw, rest = rest[:end], rest[end:]
                    self._require_utf8(raw, line)
                    if raw.strip() or (begun and raw):
                        kept = raw if begun else raw.lstrip(b"\r\n")
                        yield _Piece(kept, line + raw[: len(raw) - len(kept)].count(b"\n"))
                        begun = True
                    line += raw.count(b"\n")
                self._require_utf8(rest, line)
                if rest.strip() or (begun and rest):
                    kept = rest if begun else rest.lstrip(b"\r\n")
                    yield _Piece(kept, line + rest[: len(rest) - len(kept)].count(b"\n"))
        except OSError as error:
            raise InputError(f"{self.at}: cannot be read: {error.strerror}") from None

    def _require_utf8(self, raw: bytes, line: int) -> None:
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            line += raw.count(b"\n", 0, error.start)
            byte = f"byte 0x{raw[error.start]:02x} in line {line}"
            raise InputError(f"{self.at}: is not UTF-8 ({byte}); save it as UTF-8") from None

    def _lines(self, raw: bytes) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8", newline="")

    def _require_whole_rows(self, lines: Iterable[str], first: int) -> None:
        """Every row has as many cells as there are names, or none; the lines begin at one of this number."""
        reader, next_line, width = csv.reader(lines, delimiter=self.separator, strict=True), first, len(self.names)
        try:
            for row in reader:
                if row and len(row) != width:
                    cure = "put texts that hold the separator in double quotes"
                    expected = f"expected {width}, as in the line of names; {cure}"
                    raise InputError(f"{self.at}: line {next_line} has {len(row)} cells; {expected}")
                next_line = first + reader.line_num
        except csv.Error as error:
            if "unexpected end of data" in str(error):
                raise InputError(f"{self.at}: line {next_line} opens a quote that is never closed") from None
            raise InputError(f"{self.at}: line {next_line}: {error}") from None


def _end_of_rows(raw: bytes) -> int:
    """Where the last row ends that is whole; 0 if none is."""
    quotes, end = raw.count(b'"'), len(raw)
    while (newline := raw.rfind(b"\n", 0, end)) >= 0:
        quotes -= raw.count(b'"', newline, end)
        if quotes % 2 == 0:
            return newline + 1
        end = newline
    return 0
