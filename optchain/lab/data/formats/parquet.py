"""Parquet: columns with types."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from optchain.lab.data.formats.columns import ColumnsTable

if TYPE_CHECKING:
    from optchain.lab.data.formats.sheets import Sheet


class Parquet(ColumnsTable):
    """A Parquet file: the columns have types, so that a column of texts is a category even if they look like numbers.

    Null and NaN are missing values.
    """

    use: Literal["parquet"]

    def sheet(self, path: Path, at: str) -> "Sheet":
        from optchain.lab.data.formats.sheets import read_parquet

        return read_parquet(path, at, by_column=self._is_stored(path))
