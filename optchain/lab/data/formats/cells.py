"""One column of a file: as numbers, categories, texts or times, with errors that name the column and the line."""

import dataclasses
from typing import Literal

import numpy as np
import polars as pl

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats.sheets import Sheet

Kind = Literal["boolean", "category", "date", "number", "other"]

# Of dates, each after a "T" before the time of day has become a blank, and a "Z" at the end is gone.
DATES = (
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%d.%m.%Y",
    "%m/%d/%Y",
    "%d/%m/%Y",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y %H:%M:%S%.f",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %H:%M",
)


@dataclasses.dataclass(frozen=True)
class Column:
    """A column whose values are null where they are missing."""

    name: str
    values: pl.Series
    sheet: Sheet

    def error(self, row: int, said: str) -> InputError:
        """What is wrong in a row."""
        return InputError(f"{self.sheet.at}: {self.sheet.place(row)}, column {self.name!r}: {said}")

    @property
    def is_text(self) -> bool:
        return self.values.dtype == pl.String


def column(sheet: Sheet, name: str, missing: list[str]) -> Column:
    """A column of a file: texts without blanks around them, and null for what means a missing value."""
    values = sheet.frame[name]
    if isinstance(values.dtype, pl.Categorical | pl.Enum):
        values = values.cast(pl.String)
    if values.dtype == pl.String:
        values = values.str.strip_chars()
        values = values.set(values.is_in(["", *missing]).fill_null(False), None)
    if values.dtype.is_float():
        values = values.fill_nan(None)
    return Column(name, values, sheet)


def kind_of(column: Column) -> Kind:
    """What the values are. Texts of a file without types are numbers if more than half of them are."""
    dtype = column.values.dtype
    if column.is_text:
        found = column.values.drop_nulls()
        if column.sheet.typed:
            return "category"
        if found.str.to_lowercase().is_in(["true", "false"]).all():
            return "boolean"
        if found.cast(pl.Float64, strict=False).count() > len(found) / 2:
            return "number"
        return "date" if date_formats(found) else "category"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype.is_numeric():
        return "number"
    return "date" if dtype in (pl.Date, pl.Datetime) else "other"


def date_formats(texts: pl.Series) -> list[str]:
    """The formats in which all of these texts are dates; none if there are no texts."""
    texts, formats = _plain(texts), list(DATES)
    for some in (texts.head(20), texts):
        formats = [one for one in formats if len(some) and _parsed(some, one).count() == len(some)]
        if not formats:
            return []
    return formats


def numbers(column: Column, cure: str = "", booleans: bool = False) -> np.ndarray:
    """The values as float64, NaN where missing. The texts true and false are 1 and 0 if there may be booleans.

    Raises:
        InputError: naming the first value that is not a finite number, with the cure.
    """
    values = column.values
    if column.is_text:
        plain = values.str.to_lowercase().replace({"true": "1", "false": "0"}) if booleans else values
        found = plain.cast(pl.Float64, strict=False)
    elif values.dtype in (pl.Boolean, pl.Null) or values.dtype.is_numeric():
        found = values.cast(pl.Float64)
    else:
        raise InputError(f"{column.sheet.at}: column {column.name!r} holds {values.dtype}; expected numbers")
    wrong = (values.is_not_null() & ~found.is_finite().fill_null(False)).arg_true()
    if len(wrong):
        value = values[int(wrong[0])]
        is_number = found[int(wrong[0])] is not None
        said = f"{value!r} is not a {'finite ' if is_number else ''}number"
        if isinstance(value, str) and "," in value:
            said += " (decimals are written with a point)"
        raise column.error(int(wrong[0]), f"{said}{f'; {cure}' if cure else ''}")
    return found.fill_null(float("nan")).to_numpy()


def texts(column: Column, normal: bool = False) -> pl.Series:
    """The values as texts. Normal ones are the same for 1 and 1.0, so that files may differ in how numbers are written.

    Raises:
        InputError: the column holds lists or the like.
    """
    values = column.values
    if values.dtype == pl.Null:
        return values.cast(pl.String)
    if not column.is_text and not (values.dtype.is_numeric() or values.dtype in (pl.Boolean, pl.Date, pl.Datetime)):
        raise InputError(f"{column.sheet.at}: column {column.name!r} holds {values.dtype}; expected texts or numbers")
    as_text = values.cast(pl.String)
    if not (normal or values.dtype.is_numeric()) or values.dtype.is_integer() or values.dtype == pl.Boolean:
        return as_text
    frame = pl.DataFrame({"text": as_text}).with_columns(number=pl.col("text").cast(pl.Float64, strict=False))
    is_whole = (pl.col("number") == pl.col("number").floor()) & (pl.col("number").abs() < 2**53)
    whole = is_whole & ~pl.col("text").str.contains(r"^[+-]?0\d")  # 007 is not 7
    number = pl.when(whole).then(pl.col("number")).otherwise(0).cast(pl.Int64).cast(pl.String)
    return frame.select(pl.when(whole).then(number).otherwise(pl.col("text"))).to_series()


def times(column: Column) -> np.ndarray:
    """Numbers as they are, and dates as seconds, for an order.

    Raises:
        InputError: a value is missing, or is neither a number nor a date.
    """
    require_all(column)
    values, kind = column.values, kind_of(column)
    if column.is_text and kind != "number":
        formats = date_formats(values)
        if len(formats) > 1:
            raise column.error(0, f"{values[0]!r} may be day or month first; expected dates such as 2024-01-31")
        if not formats:
            raise column.error(
                0, f"{values[0]!r} has no order; expected numbers, or dates such as 2024-01-31 in all rows"
            )
        values, kind = _parsed(_plain(values), formats[0]), "date"
    if kind == "date":
        return values.cast(pl.Datetime("us")).dt.epoch("us").to_numpy() / 1e6
    return numbers(column)


def require_all(column: Column, cure: str = "") -> None:
    """No value is missing.

    Raises:
        InputError: naming the first row without a value.
    """
    rows = column.values.is_null().arg_true()
    if len(rows):
        more = f", nor in {len(rows) - 1} more" if len(rows) > 1 else ""
        raise column.error(int(rows[0]), f"there is no value{more}{f'; {cure}' if cure else ''}")


def _plain(texts: pl.Series) -> pl.Series:
    return texts.str.replace(r"^(\d{4}-\d\d-\d\d)T", "$1 ").str.replace("Z$", "")


def _parsed(texts: pl.Series, form: str) -> pl.Series:
    """The dates, null where a text is not one."""
    found = texts.str.to_datetime(form, time_unit="us", strict=False)
    return found.dt.replace_time_zone(None)
