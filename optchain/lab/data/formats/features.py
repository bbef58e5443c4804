"""Examples from the columns of a file."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.formats import cells
from optchain.lab.data.formats.cells import Column
from optchain.lab.data.formats.columns import ColumnsTable
from optchain.lab.data.formats.places import some, warn
from optchain.lab.data.formats.sheets import Sheet
from optchain.lab.data.preprocess.categories import OneHot
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.preprocess.step import Step

FEW = 20  # texts that are categories, and whole numbers that are classes, regardless of the number of rows
MANY = 1000  # texts that are not categories unless the table says so
CURE = "correct it, or name it in task.missing if it means a missing value, or put the column in task.categories"
SPLITS = ("train", "validation", "test")


@dataclasses.dataclass(frozen=True)
class Feature:
    """What a column of the inputs is."""

    name: str
    kind: cells.Kind
    known: pl.Series | None = None  # of a category: its values, sorted
    normal: bool = False  # whether 1 and 1.0 are the same category

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


def load(table: ColumnsTable) -> Examples:
    """The examples of a table's file."""
    sheet = table.sheet(table.path, "task.path: ")
    names = _inputs(table, sheet.frame.columns)
    features = _features(table, sheet, names)
    inputs = _encoded(features, sheet, table.missing, CURE)
    targets, labels = _targets(table, sheet)
    coded = [position for position, feature in enumerate(features) if feature.known is not None]
    gaps = np.isnan(np.delete(inputs, coded, axis=1)).any()
    steps: dict[str, Step] = {"impute": Impute(use="impute", by="median")} if gaps else {}

    def read(path: Path) -> np.ndarray:
        sheet = _with_columns(table.sheet(path, ""), names)
        return _encoded(features, sheet, table.missing, "expected numbers, as in training")

    roles: dict[str, Any] = _roles(table, sheet)
    return Examples(
        inputs,
        targets,
        labels,
        columns=names,
        place=lambda row: f"{sheet.place(row)} of {table.path}",
        scale=labels is None,
        first={"one_hot": OneHot(use="one_hot", features=coded)} if coded else {},
        steps=steps | {"standardize": Standardize(use="standardize")},
        read=read,
        **roles,
    )


def _targets_of(table: ColumnsTable) -> list[str]:
    return [table.target] if isinstance(table.target, str) else table.target


def _inputs(table: ColumnsTable, columns: list[str]) -> list[str]:
    """The names of the columns that are inputs, after all names were looked up."""
    roles = {key: name for key in ("weights", "groups", "order", "split") if (name := getattr(table, key)) is not None}
    named = {"target": _targets_of(table), "inputs": table.inputs or [], "exclude": table.exclude}
    named |= {key: [name] for key, name in roles.items()} | {"categories": table.categories}
    for key, names in named.items():
        for name in names:
            if name not in columns:
                raise InputError(f"task.{key}: there is no column {name!r} in {table.path}; {nearest(name, columns)}")
            if names.count(name) > 1:
                raise InputError(f"task.{key}: names the column {name!r} more than once")
    if not named["target"]:
        raise InputError("task.target: got no column; expected the name of at least one")
    taken = {name: key for key in ("target", *roles, "exclude") for name in named[key]}
    for name in table.inputs or []:
        if name in taken:
            raise InputError(f"task.inputs: the column {name!r} is named in task.{taken[name]} and cannot be an input")
    for name in table.exclude:
        if taken[name] != "exclude" or name in named["target"] or name in roles.values():
            raise InputError(f"task.exclude: the column {name!r} has another use in this table")
    for key, name in roles.items():
        if name in named["target"]:
            raise InputError(f"task.{key}: the column {name!r} is the target")
    inputs = [name for name in columns if name not in taken] if table.inputs is None else table.inputs
    if not inputs:
        raise InputError("task.inputs: no column is left for the inputs")
    for name in table.categories:
        if name not in inputs and name not in named["target"]:
            raise InputError(f"task.categories: the column {name!r} is not an input; {nearest(name, inputs)}")
    return inputs


def _features(table: ColumnsTable, sheet: Sheet, names: list[str]) -> list[Feature]:
    """What each column is; all that cannot be used are named at once."""
    features, refused = [], []
    for name in names:
        column = cells.column(sheet, name, table.missing)
        kind, said = cells.kind_of(column), None
        if not column.values.count():
            said = "has no values; exclude it"
        elif name in table.categories and kind != "other":
            kind = "category"
        elif kind == "date":
            said = "holds dates; exclude it, or use it as task.order"
        elif kind == "other":
            said = f"holds {column.values.dtype}; expected numbers, booleans or texts; exclude it"
        elif kind == "category":
            said = _like_an_id(column)
            said = f"{said}; exclude it, or put it in task.categories" if said else None
        if said:
            refused.append(f"task.{'inputs' if table.inputs else 'path'}: column {name!r} {said}")
        elif kind == "category":
            normal = name in table.categories
            known = cells.texts(column, normal).drop_nulls().unique().sort()
            features.append(Feature(name, kind, known, normal))
        else:
            features.append(Feature(name, kind))
    if refused:
        raise InputError("\n".join(refused))
    return features


def _like_an_id(column: Column) -> str | None:
    """What is wrong with texts that are hardly ever the same."""
    count, rows = column.values.drop_nulls().n_unique(), column.values.count()
    if count <= FEW or (count <= rows / 2 and count <= MANY):
        return None
    commas = column.values.drop_nulls().str.contains(r"^[+-]?\d+,\d+$")
    if 2 * int(commas.sum()) > len(commas):
        return f"has decimal commas, such as {column.values.drop_nulls()[0]!r}; write decimals with a point"
    return f"has {count} different texts in {rows} rows, like an id"


def _encoded(features: Iterable[Feature], sheet: Sheet, missing: list[str], cure: str) -> np.ndarray:
    columns = (feature.encoded(cells.column(sheet, feature.name, missing), cure) for feature in features)
    return np.stack(list(columns), axis=1)


def _with_columns(sheet: Sheet, names: list[str]) -> Sheet:
    """The file, after a look whether the columns are there."""
    lacking = [name for name in names if name not in sheet.frame.columns]
    if lacking:
        found = nearest(lacking[0], sheet.frame.columns)
        raise InputError(f"{sheet.at}: there is no column {some(lacking)}, which the model's inputs need; {found}")
    return sheet


def _targets(table: ColumnsTable, sheet: Sheet) -> tuple[np.ndarray, list[Any] | None]:
    """The targets, and the labels of their classes if they are classes."""
    columns = [cells.column(sheet, name, table.missing) for name in _targets_of(table)]
    for column in columns:
        cells.require_all(column, "every row needs a target; remove the rows without one")
    if not isinstance(table.target, str):
        if table.classes:
            raise InputError("task.classes: several targets are real numbers; expected one target, or classes = false")
        return np.stack([cells.numbers(column) for column in columns], axis=1), None
    (column,), kind = columns, cells.kind_of(columns[0])
    if kind in ("date", "other"):
        raise InputError(
            f"task.target: column {column.name!r} holds {'dates' if kind == 'date' else column.values.dtype}"
        )
    as_classes = table.classes or column.name in table.categories
    if kind != "number" and table.classes is False:
        raise InputError(f"task.classes: false, but the target {column.name!r} holds {kind} values, not numbers")
    is_coded = column.is_text and kind == "number" and column.values.cast(pl.Float64, strict=False).has_nulls()
    if kind == "category" or (as_classes and is_coded):
        if not as_classes and (said := _like_an_id(column)):
            raise InputError(f"task.target: column {column.name!r} {said}; or say classes = true")
        values = cells.texts(column)
        labels = values.unique().sort()
        return np.searchsorted(labels.to_numpy(), values.to_numpy()).astype(np.int32), labels.to_list()
    found = cells.numbers(column, "correct it, or say classes = true", booleans=kind == "boolean")
    if kind == "boolean":
        return found.astype(np.int32), [False, True]
    values, codes = np.unique(found, return_inverse=True)
    whole = bool((values == np.round(values)).all())
    few = whole and len(values) <= max(2, min(FEW, len(found) // 2))
    if as_classes or (table.classes is None and few):
        return codes.astype(np.int32), [int(value) if whole else float(value) for value in values]
    return found, None


def _roles(table: ColumnsTable, sheet: Sheet) -> dict[str, np.ndarray]:
    """Weights, groups, order and split, as far as columns are named."""
    found = {}
    columns = {
        key: cells.column(sheet, name, table.missing)
        for key in ("weights", "groups", "order", "split")
        if (name := getattr(table, key)) is not None
    }
    for key, column in columns.items():
        cells.require_all(column, f"task.{key} needs one in every row")
        if key == "weights":
            found[key] = cells.numbers(column)
            below = np.flatnonzero(found[key] < 0)
            if len(below):
                raise column.error(int(below[0]), f"the weight {found[key][below[0]]:g} is below 0")
        elif key == "order":
            found[key] = cells.times(column)
        else:
            found[key] = cells.texts(column).to_numpy().astype(np.str_)
    for row, name in enumerate(found.get("split", [])):
        if name not in SPLITS:
            raise columns["split"].error(row, f"got {str(name)!r}; {nearest(str(name), SPLITS)}")
    return found
