"""A column of the inputs: what its values are, and how they become numbers."""

import dataclasses
from typing import Any

import numpy as np
import polars as pl

from optchain.lab.data.formats import cells
from optchain.lab.data.formats.cells import Column
from optchain.lab.data.formats.places import some, warn
from optchain.lab.data.standalone import columns as standalone


@dataclasses.dataclass(frozen=True)
class Feature:
    """What a column of the inputs is."""

    name: str
    kind: cells.Kind
    known: pl.Series | None = None  # of a category: its values, sorted
    normal: bool = False  # whether 1 and 1.0 are the same category

    @property
    def told(self) -> dict[str, Any]:
        """The same as JSON."""
        known = None if self.known is None else self.known.to_list()
        return {"name": self.name, "kind": self.kind, "known": known, "normal": self.normal}

    @classmethod
    def of(cls, told: dict[str, Any]) -> "Feature":
        """The feature of which this was told."""
        known = told["known"]
        values = None if known is None else pl.Series(known, dtype=pl.String)
        return cls(told["name"], told["kind"], values, told["normal"])

    @property
    def column(self) -> standalone.Column:
        """The same for inputs in memory, and for an exported model."""
        known = None if self.known is None else self.known.to_list()
        return standalone.Column(self.name, known, self.normal, self.kind == "boolean")

    def encoded(self, column: Column, cure: str) -> np.ndarray:
        """The values as float64: NaN where missing, -1 for a category that is not known."""
        if self.known is None:
            return cells.numbers(column, cure if column.is_text else "", booleans=self.kind == "boolean")
        values = cells.texts(column, self.normal)
        codes = pl.DataFrame({"value": self.known}).with_row_index("code")
        found = pl.DataFrame({"value": values}).join(codes, on="value", how="left", maintain_order="left")["code"]
        unseen = found.is_null() & values.is_not_null()
        if unseen.any():
            new = some(values.filter(unseen).unique(maintain_order=True))
            warn(f"{column.sheet.at}: column {self.name!r}: {new} not in the training file; counted as no category")
        codes_of = found.cast(pl.Float64).set(unseen, -1.0)
        return codes_of.fill_null(float("nan")).to_numpy()
