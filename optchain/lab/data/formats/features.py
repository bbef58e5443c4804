"""Examples from the columns of a file."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples, Reader
from optchain.lab.data.formats import cells
from optchain.lab.data.formats.converted import converted
from optchain.lab.data.formats.described import FEW, features_of, kept_features, like_an_id
from optchain.lab.data.formats.feature import Feature
from optchain.lab.data.formats.places import some
from optchain.lab.data.formats.sheets import Sheet
from optchain.lab.data.formats.stored import StoredColumns
from optchain.lab.data.positioned import FileArray, blocks
from optchain.lab.data.preprocess.categories import OneHot
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.standalone.columns import Columns

if TYPE_CHECKING:
    from optchain.lab.data.formats.columns import ColumnsTable

CURE = "correct it, or name it in task.missing if it means a missing value, or put the column in task.categories"
CELL = 40  # bytes of a cell as text, of which a block of rows holds all
SPLITS = ("train", "validation", "test")


def load(table: "ColumnsTable") -> Examples:
    """The examples of a table's file."""
    sheet = table.sheet(table.path, "task.path: ")
    names = _inputs(table, sheet.frame.columns)
    streamed = isinstance(sheet.frame, StoredColumns)
    features = kept_features(table, sheet, names) if streamed else features_of(table, sheet, names)
    inputs = _converted(table, features, sheet) if streamed else _encoded(features, sheet, table.missing, CURE)
    targets, labels = _targets(table, sheet)
    coded = [position for position, feature in enumerate(features) if feature.known is not None]
    gaps = isinstance(inputs, np.ndarray) and np.isnan(np.delete(inputs, coded, axis=1)).any()
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
        read=Reader(read, Columns([feature.column for feature in features], table.missing, table.between)),
        **roles,
    )


def _targets_of(table: "ColumnsTable") -> list[str]:
    return [table.target] if isinstance(table.target, str) else table.target


def _inputs(table: "ColumnsTable", columns: list[str]) -> list[str]:
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


def _encoded(features: Iterable[Feature], sheet: Sheet, missing: list[str], cure: str) -> np.ndarray:
    columns = (feature.encoded(cells.column(sheet, feature.name, missing), cure) for feature in features)
    return np.stack(list(columns), axis=1)


def _converted(table: "ColumnsTable", features: list[Feature], sheet: Sheet) -> FileArray:
    """The inputs in a file of rows."""
    frame: Any = sheet.frame
    names = [feature.name for feature in features]

    def rows() -> Iterator[np.ndarray]:
        for numbers in blocks(len(frame), CELL * len(names)):
            begin = int(numbers[0])
            part = sheet._replace(
                frame=frame.rows(names, begin, len(numbers)), place=lambda row, begin=begin: sheet.place(begin + row)
            )
            yield _encoded(features, part, table.missing, CURE)

    told = [[feature.name, feature.kind, feature.normal] for feature in features], table.missing
    return converted(frame.source, (len(frame), len(names)), "<f8", told, rows, "task.path: ")


def _with_columns(sheet: Sheet, names: list[str]) -> Sheet:
    """The file, after a look whether the columns are there."""
    lacking = [name for name in names if name not in sheet.frame.columns]
    if lacking:
        found = nearest(lacking[0], sheet.frame.columns)
        raise InputError(f"{sheet.at}: there is no column {some(lacking)}, which the model's inputs need; {found}")
    return sheet


def _targets(table: "ColumnsTable", sheet: Sheet) -> tuple[np.ndarray, list[Any] | None]:
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
        if not as_classes and (said := like_an_id(column)):
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


def _roles(table: "ColumnsTable", sheet: Sheet) -> dict[str, np.ndarray]:
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
