"""What the tables of rows and columns have in common, regardless of the kind of file."""

import abc
from pathlib import Path
from typing import TYPE_CHECKING

from optchain.lab.data.examples import Examples
from optchain.lab.data.tables import TaskTable
from optchain.lab.settings.table import Place

if TYPE_CHECKING:
    from optchain.lab.data.formats.sheets import Sheet

MISSING = ["NA", "N/A", "NaN", "nan", "null", "NULL", "?"]


class ColumnsTable(TaskTable):
    """A file with one row per example and named columns.

    Inputs are float64[rows, columns]. Numbers, and booleans as 0 and 1, are NaN where missing. A column of texts is a
    category: its values are numbered in their sorted order, and the step `one_hot` makes one column of each that the
    training rows have. The other default steps are `impute` by the median, if numbers are missing, and `standardize`.

    Targets are classes if they are texts, booleans or few whole numbers: no more than 20 different ones, and half as
    many as rows. Otherwise they are real numbers, which are scaled for training.

    With `stream` the inputs are written once into a file of rows beside the table's, and no number may be missing
    unless `[preprocess]` has a step `impute`.
    """

    path: Place  # of the file
    target: str | list[str]  # the column to predict; or several, of real numbers
    classes: bool | None = None  # whether targets are classes; decided by their values if left out
    inputs: list[str] | None = None  # columns; all that no other key names if left out
    exclude: list[str] = []  # columns that are not read
    categories: list[str] = []  # columns of numbers, or of many texts, that are categories nonetheless
    weights: str | None = None  # column of each example's weight in the loss
    groups: str | None = None  # column whose equal values are never split
    order: str | None = None  # column of numbers or dates; the last examples are held out
    split: str | None = None  # column that says "train", "validation" or "test"
    missing: list[str] = MISSING  # texts that mean a missing value, as the empty cell does
    stream: bool = False  # inputs for training are read when a step needs them, from a file of rows that is made once

    @property
    def between(self) -> str:
        """What stands between the cells of new inputs that are given as text."""
        return ","

    def load(self) -> Examples:
        """Read the file.

        Raises:
            InputError: naming the key, the column and the line.
        """
        from optchain.lab.data.formats import features

        return features.load(self)

    def _is_stored(self, path: Path) -> bool:
        """Whether a file stays where it is: that of training, not one whose rows are to be answered."""
        return self.stream and path == self.path

    @abc.abstractmethod
    def sheet(self, path: Path, at: str) -> "Sheet":
        """Read a file of this kind; errors begin with `at`, such as "task.path: "."""
