"""What the columns of the inputs are: numbers, booleans or categories; and which of them cannot be used."""

import contextlib
import json
from typing import TYPE_CHECKING, Any

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import write_whole
from optchain.lab.data.formats import cells
from optchain.lab.data.formats.cells import Column
from optchain.lab.data.formats.feature import Feature
from optchain.lab.data.formats.sheets import Sheet

if TYPE_CHECKING:
    from optchain.lab.data.formats.columns import ColumnsTable

FEW = 20  # texts that are categories, and whole numbers that are classes, regardless of the number of rows
MANY = 1000  # texts that are not categories unless the table says so
VERSION = 1  # of what columns are taken for


def kept_features(table: "ColumnsTable", sheet: Sheet, names: list[str]) -> list[Feature]:
    """What each column is, kept beside the file."""
    frame: Any = sheet.frame
    place = frame.source.beside([VERSION, names, table.categories, table.missing, sheet.typed], "features.json")
    with contextlib.suppress(OSError, ValueError, TypeError):
        return [Feature.of(told) for told in json.loads(place.read_text())]
    features = features_of(table, sheet, names)
    with contextlib.suppress(OSError):
        write_whole(place, json.dumps([feature.told for feature in features]))
    return features


def features_of(table: "ColumnsTable", sheet: Sheet, names: list[str]) -> list[Feature]:
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
            said = like_an_id(column)
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


def like_an_id(column: Column) -> str | None:
    """What is wrong with texts that are hardly ever the same."""
    count, rows = column.values.drop_nulls().n_unique(), column.values.count()
    if count <= FEW or (count <= rows / 2 and count <= MANY):
        return None
    commas = column.values.drop_nulls().str.contains(r"^[+-]?\d+,\d+$")
    if 2 * int(commas.sum()) > len(commas):
        return f"has decimal commas, such as {column.values.drop_nulls()[0]!r}; write decimals with a point"
    return f"has {count} different texts in {rows} rows, like an id"
