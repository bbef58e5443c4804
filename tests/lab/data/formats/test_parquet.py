"""Parquet files: columns by their types."""

import datetime
import decimal

import numpy as np
import polars as pl
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats import FORMATS

NAN = np.nan
DAYS = [datetime.date(2020, 1, day) for day in (1, 2, 3)]


@pytest.fixture
def load(tmp_path):
    """Examples of a file with these columns."""

    def load(columns, target="y", **keys):
        path = tmp_path / "data.parquet"
        pl.DataFrame({"y": [0.5, 1.5, 2.5]} | columns).write_parquet(path)
        return FORMATS["parquet"].model_validate({"use": "parquet", "path": str(path), "target": target} | keys).load()

    return load


@pytest.mark.parametrize(
    ("column", "values", "is_category"),
    [
        ([1, None, 3], [1, NAN, 3], False),
        ([1.5, NAN, None], [1.5, NAN, NAN], False),
        ([True, None, False], [1, NAN, 0], False),
        ([decimal.Decimal("1.5"), None, decimal.Decimal("2")], [1.5, NAN, 2], False),
        (pl.Series([2**64 - 1, 0, 1], dtype=pl.UInt64), [2.0**64, 0, 1], False),
        (["1", "10", "1"], [0, 1, 0], True),
        ([" b", "", "a"], [1, NAN, 0], True),
        (pl.Series(["b", None, "a"], dtype=pl.Categorical), [1, NAN, 0], True),
        (pl.Series(["b", None, "a"], dtype=pl.Enum(["b", "a"])), [1, NAN, 0], True),
    ],
)
def test_types(load, column, values, is_category):
    examples = load({"a": column})
    np.testing.assert_array_equal(examples.inputs[:, 0], values)
    assert bool(examples.first) == is_category and examples.targets.tolist() == [0.5, 1.5, 2.5]


def test_numbers_that_are_categories_may_be_real_ones_in_another_file(load, tmp_path):
    examples = load({"a": [10, 7, 10]}, categories=["a"])
    assert examples.inputs[:, 0].tolist() == [0, 1, 0]
    pl.DataFrame({"a": [7.0, 10.0, None]}).write_parquet(tmp_path / "new.parquet")
    np.testing.assert_array_equal(examples.read(tmp_path / "new.parquet"), [[1], [0], [NAN]])


def test_new_rows_of_other_types(load, tmp_path):
    examples = load({"a": [1, 2, 3]})
    pl.DataFrame({"a": ["1.5", None], "y": [0.0, 0.0]}).write_parquet(tmp_path / "new.parquet")
    np.testing.assert_array_equal(examples.read(tmp_path / "new.parquet"), [[1.5], [NAN]])
    pl.DataFrame({"a": [None, None]}).write_parquet(tmp_path / "new.parquet")
    np.testing.assert_array_equal(examples.read(tmp_path / "new.parquet"), [[NAN], [NAN]])
    pl.DataFrame({"a": ["1", "x"]}).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(InputError, match="new.parquet: row 2, column 'a': 'x' is not a number"):
        examples.read(tmp_path / "new.parquet")
    pl.DataFrame({"a": [[1], [2]]}).write_parquet(tmp_path / "new.parquet")
    with pytest.raises(InputError, match=r"new.parquet: column 'a' holds List\(Int64\); expected numbers"):
        examples.read(tmp_path / "new.parquet")


def test_dates_are_an_order(load):
    order = load({"a": [1, 2, 3], "day": DAYS}, order="day").order
    assert np.diff(order).tolist() == [86400, 86400]


@pytest.mark.parametrize(
    ("columns", "keys", "message"),
    [
        ({"a": DAYS}, {}, "column 'a' holds dates; exclude it, or use it as task.order"),
        (
            {"a": [[1], [2], [3]]},
            {},
            r"column 'a' holds List\(Int64\); expected numbers, booleans or texts; exclude it",
        ),
        ({"a": [{"b": 1}] * 3}, {}, "column 'a' holds Struct"),
        ({"a": [None] * 3}, {}, "column 'a' has no values; exclude it"),
        ({"a": [1.0, float("inf"), 2.0]}, {}, "row 2, column 'a': inf is not a finite number"),
        ({"a": [1, 2, 3], "y": [1.0, None, NAN]}, {}, "row 2, column 'y': there is no value, nor in 1 more"),
        ({"a": [1, 2, 3], "y": [[1], [2], [3]]}, {}, "task.target: column 'y' holds"),
        ({"a": [1, 2, 3]}, {"target": "why"}, "task.target: there is no column 'why'"),
        ({"a": [1, 2, 3], "g": [[1], [2], [3]]}, {"groups": "g"}, r"column 'g' holds List\(Int64\)"),
    ],
)
def test_refusals(load, columns, keys, message):
    with pytest.raises(InputError, match=f"^(?=task[.]).*{message}"):
        load(columns, **keys)


def test_files_that_are_not_parquet(tmp_path):
    path = tmp_path / "data.parquet"
    table = FORMATS["parquet"].model_validate({"use": "parquet", "path": str(path), "target": "y"})
    for content in (b"", b"a,y\n1,2\n", b"PAR1" + b"\0" * 40 + b"PAR1"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="^task.path: .*data.parquet: cannot be read as Parquet"):
            table.load()
    pl.DataFrame({"a": [], "y": []}).write_parquet(path)
    with pytest.raises(InputError, match="data.parquet: has no rows"):
        table.load()
