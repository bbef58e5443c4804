"""CSV: text with one line per example, after a line that names the columns."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import AfterValidator

from optchain.lab.data.formats.columns import ColumnsTable

if TYPE_CHECKING:
    from optchain.lab.data.formats.sheets import Sheet


def _one_character(separator: str) -> str:
    if len(separator.encode()) != 1 or separator in '"\r\n':
        raise ValueError(f'got {separator!r}; expected one character, such as "," or ";" or "\\t"')
    return separator


class Csv(ColumnsTable):
    """A CSV file in UTF-8: a line of names, and one row per example; cells may be quoted.

    A column is one of numbers if more than half of its values are; then a text in it is an error. Empty lines are
    skipped.

    With `stream` the cells are written by column into files beside it first, and these stay.
    """

    use: Literal["csv"]
    separator: Annotated[str, AfterValidator(_one_character)] = ","  # between cells

    @property
    def between(self) -> str:
        return self.separator

    def sheet(self, path: Path, at: str) -> "Sheet":
        from optchain.lab.data.formats.sheets import read_csv

        return read_csv(path, self.separator, at, stored=self._is_stored(path))
