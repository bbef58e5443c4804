"""Files of rows and columns as they are read, with the place of each row in the file."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import polars as pl

from optchain.lab.base.errors import InputError, first_line
from optchain.lab.data.formats.converted import source_of
from optchain.lab.data.formats.delimited import Delimited
from optchain.lab.data.formats.places import require_file
from optchain.lab.data.formats.stored import StoredColumns, stored_cells

FAILURES = (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError)


class Sheet(NamedTuple):
    """The columns of a file."""

    frame: pl.DataFrame | StoredColumns
    at: str  # how errors begin
    place: Callable[[int], str]  # of a row, as the user counts it
    typed: bool  # whether the file says what is a text and what a number


def read_parquet(path: Path, at: str, by_column: bool = False) -> Sheet:
    """A Parquet file.

    Args:
        path: of the file.
        at: how errors begin.
        by_column: whether columns are read one by one, when they are asked for.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    require_file(path, at)
    try:
        frame = StoredColumns([path], source_of(path, at)) if by_column else pl.read_parquet(path, glob=False)
    except FAILURES as error:
        raise InputError(f"{at}{path}: cannot be read as Parquet: {first_line(error)}") from None
    if not len(frame):
        raise InputError(f"{at}{path}: has no rows")
    return Sheet(frame, f"{at}{path}", lambda row: f"row {row + 1}", typed=True)


def read_csv(path: Path, separator: str, at: str, stored: bool = False) -> Sheet:
    """A CSV file, all cells as texts. Columns without a name are left out, which is said in one line.

    Args:
        path: of the file.
        separator: between cells.
        at: how errors begin.
        stored: whether the cells are written into files by column once, from which columns are read one by one.

    Raises:
        InputError: it cannot be read, or has no rows.
    """
    file = Delimited(path, separator, at)
    frame = stored_cells(file, at) if stored else file.read(lambda parts: pl.concat([*parts]))
    if not len(frame):
        raise InputError(f"{at}{path}: has a line of names and no rows")
    return Sheet(frame, f"{at}{path}", lambda row: f"line {file.line(row)}", typed=False)
