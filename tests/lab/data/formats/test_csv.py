"""CSV files as users have them: what becomes inputs and targets, and which errors name which line."""

import dataclasses
import errno
import shutil

import numpy as np
import pydantic
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.formats import FORMATS, delimited

FLOWERS = "width,color,kind\n1.5,red,rose\n2,white,lily\n,red,rose\n3,,lily\n"
NAN = np.nan


@pytest.fixture(params=["whole", *(pytest.param(way, marks=pytest.mark.full) for way in ("in pieces", "stream"))])
def load(tmp_path, request, monkeypatch):
    """Examples of a file with this content: read at once, in pieces of a line or two, and from where they are kept."""
    if request.param != "whole":
        monkeypatch.setattr(delimited, "BLOCK", 9)
        monkeypatch.setattr(delimited, "ROWS", 1)

    def load(content, target="y", **keys):
        path = tmp_path / "data.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        table = {"use": "csv", "path": str(path), "target": target, "stream": request.param == "stream"} | keys
        examples = FORMATS["csv"].model_validate(table).load()
        return dataclasses.replace(examples, inputs=examples.inputs[np.arange(len(examples))])

    return load


@pytest.fixture
def written(tmp_path):
    """The path of a new file with this content."""

    def written(content):
        (tmp_path / "new.csv").write_text(content)
        return tmp_path / "new.csv"

    return written


def ids(count):
    return "".join(f"id{row},{row}\n" for row in range(count))


def test_numbers_categories_and_classes(load):
    examples = load(FLOWERS, "kind")
    np.testing.assert_array_equal(examples.inputs, [[1.5, 0], [2, 1], [NAN, 0], [3, NAN]])
    assert examples.inputs.dtype == np.float64
    assert (examples.targets.tolist(), examples.labels, examples.scale) == ([1, 0, 1, 0], ["lily", "rose"], False)
    assert examples.first["one_hot"].features == [1]


@pytest.mark.parametrize("load", ["whole"], indirect=True)
def test_gaps_are_filled(load):
    examples = load(FLOWERS, "kind")
    assert list(examples.steps) == ["impute", "standardize"] and examples.steps["impute"].by == "median"
    prepared = preprocess.fit(examples.first | examples.steps, examples.inputs, examples.targets)
    assert prepared.inputs.shape == (4, 3)


@pytest.mark.parametrize("load", ["stream"], indirect=True)
def test_cells_are_kept_until_the_file_changes(load, capsys):
    load(FLOWERS, "kind")
    load(FLOWERS, "kind")
    cells, rows = capsys.readouterr().err.splitlines()
    assert "writing data.csv." in cells and ".cells beside data.csv once, up to 6" in cells and ".rows.npy" in rows
    load(FLOWERS.replace("2,", "7,"), "kind")
    cells, rows = capsys.readouterr().err.splitlines()
    assert "; data.csv or how it is read has changed since data.csv." in cells and "has changed since" in rows


@pytest.mark.parametrize("load", ["stream"], indirect=True)
def test_places_that_cannot_be_written(load, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(delimited.pl.DataFrame, "write_parquet", full)
    with pytest.raises(InputError, match=r"data.csv.*cells: cannot be written: No space left on device; make room"):
        load(FLOWERS, "kind")
    assert [path.name for path in tmp_path.iterdir()] == ["data.csv"]
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10, 9, 1))
    with pytest.raises(InputError, match="cells takes 6.1e-05 MB on the disk, and .* has 1e-06 MB left; make room"):
        load(FLOWERS, "kind")


def test_without_gaps_nothing_is_imputed_and_without_categories_nothing_comes_first(load):
    examples = load("a,flag,y\n1,true,0.5\n2,False,1.5\n")
    np.testing.assert_array_equal(examples.inputs, [[1, 1], [2, 0]])
    assert (list(examples.steps), examples.first) == (["standardize"], {})
    assert examples.scale and examples.labels is None and examples.targets.tolist() == [0.5, 1.5]


@pytest.mark.parametrize(
    "content",
    [
        "a,b,y\n1,u,0\n2,v,1\n",
        "\ufeffa,b,y\r\n1,u,0\r\n2,v,1\r\n",
        "a,b,y\r1,u,0\r2,v,1",
        '\n\n"a","b","y"\n"1","u","0"\n\n 2 , v , 1 \n\n',
        "a,b,,y\n1,u,0,0\n2,v,1,1\n",  # a column without a name
    ],
    ids=["plain", "mark and CRLF", "CR", "quotes and blanks", "without a name"],
)
def test_ways_to_write_the_same(load, content):
    examples = load(content)
    np.testing.assert_array_equal(examples.inputs, [[1, 0], [2, 1]])
    assert (examples.targets.tolist(), examples.labels) == ([0, 1], [0, 1])


def test_quoted_cells_hold_separators_and_lines(load):
    examples = load('a,b,y\n1,"x, ""y""\nz",0\n2,w,1\n')
    np.testing.assert_array_equal(examples.inputs, [[1, 1], [2, 0]])


def test_quotes_within_cells_and_long_cells(load):
    examples = load('a,y\n5" pipe,0\n4" pipe,1\n')
    assert examples.inputs[:, 0].tolist() == [1, 0] and examples.targets.tolist() == [0, 1]
    with pytest.raises(InputError, match="line 4, column 'y': 'inf'"):
        load(f"a,y\n{'long ' * 40_000},1\n\nb,inf\n")


def test_other_separators(load):
    assert load("a;y\n1;0,5\n1;a,b\n", separator=";").labels == ["0,5", "a,b"]
    assert load("a\ty\n1\t2\n", separator="\t").inputs.tolist() == [[1]]
    with pytest.raises(InputError, match=r"no ',' and 1 times ';'; expected separator = \";\""):
        load("a;y\n1;2\n")
    with pytest.raises(InputError, match=r'expected separator = "\\t"'):
        load("a\ty\n1\t2\n")
    with pytest.raises(pydantic.ValidationError, match="expected one character"):
        load("a,y\n1,2\n", separator=",,")


def test_one_row_huge_numbers_and_names_for_missing(load):
    assert load("a,y\n1,1.5\n").inputs.tolist() == [[1]]
    assert load(f"a,y\n{10**29},0\n-{2**63},1\n").inputs.tolist() == [[1e29], [-(2.0**63)]]
    examples = load("a,b,y\nNA,?,1.5\n1,x,2.5\nnull,-,3.5\n2,NaN,4\n", missing=["NA", "null", "NaN", "?", "-"])
    np.testing.assert_array_equal(examples.inputs, [[NAN, NAN], [1, 0], [NAN, NAN], [2, NAN]])


def test_numbers_that_are_categories(load, written):
    examples = load("zip,y\n10,0.5\n7,1.5\n10.0,2.5\n", categories=["zip"])
    assert examples.first["one_hot"].features == [0]
    assert examples.inputs[:, 0].tolist() == [0, 1, 0]
    assert examples.read(written("zip\n7.0\n10\n")).tolist() == [[1], [0]]
    codes = "zip,y\n007,0.5\n7,1.5\n"
    assert load(codes, categories=["zip"]).inputs[:, 0].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("cells", "keys", "targets", "labels"),
    [
        (["2", "5", "2", "5"], {}, [0, 1, 0, 1], [2, 5]),
        (["2", "5.0", "2", "5"], {}, [0, 1, 0, 1], [2, 5]),
        (["2", "5", "2", "5"], {"classes": False}, [2, 5, 2, 5], None),
        (["2", "5", "3", "4"], {}, [2, 5, 3, 4], None),
        (["2", "5", "3", "4"], {"classes": True}, [0, 3, 1, 2], [2, 3, 4, 5]),
        (["2", "5", "3", "4"], {"categories": ["y"]}, [0, 3, 1, 2], [2, 3, 4, 5]),
        (["1", "2", "3", "x"], {"classes": True}, [0, 1, 2, 3], ["1", "2", "3", "x"]),
        (["0.5", "1", "0.5", "1"], {}, [0.5, 1, 0.5, 1], None),
        (["yes", "no", "no", "no"], {}, [1, 0, 0, 0], ["no", "yes"]),
        (["True", "false", "true", "true"], {}, [1, 0, 1, 1], [False, True]),
    ],
)
def test_which_targets_are_classes(load, cells, keys, targets, labels):
    examples = load("a,y\n" + "".join(f"1,{cell}\n" for cell in cells), **keys)
    assert examples.targets.tolist() == targets
    assert (examples.labels, examples.scale) == (labels, labels is None)


def test_several_targets(load):
    examples = load("a,y,z\n1,2,3\n2,3,5.5\n", ["z", "y"])
    assert examples.inputs.tolist() == [[1], [2]] and examples.targets.tolist() == [[3, 2], [5.5, 3]]
    assert examples.scale


def test_columns_with_another_use_are_not_inputs(load):
    content = "a,w,g,t,s,x,y\n1,0.5,p,2020-01-02,train,i,0\n2,2,q,2020-01-01,test,j,1\n"
    examples = load(content, weights="w", groups="g", order="t", split="s", exclude=["x"])
    assert examples.inputs.tolist() == [[1], [2]]
    assert examples.weights.tolist() == [0.5, 2] and examples.groups.tolist() == ["p", "q"]
    assert examples.split.tolist() == ["train", "test"] and examples.order[0] - examples.order[1] == 86400
    assert load(content, inputs=["w", "a"]).inputs.tolist() == [[0.5, 1], [2, 2]]


@pytest.mark.parametrize(
    ("times", "difference"),
    [
        (["1", "2.5"], 1.5),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:01:00Z"], 60),
        (["2020-01-01 00:00", "2020-01-02 01:00"], 90000),
        (["2020-01-01T00:00:00+02:00", "2020-01-01T00:00:00+01:00"], 3600),
        (["01.12.2020", "02.12.2020"], 86400),
        (["12/01/2020", "12/13/2020"], 12 * 86400),
    ],
)
def test_orders(load, times, difference):
    order = load(f"a,t,y\n1,{times[0]},0.5\n2,{times[1]},1.5\n", order="t").order
    assert order[1] - order[0] == difference


@pytest.mark.parametrize(
    ("content", "keys", "message"),
    [
        ("", {}, "is empty; expected a line of names"),
        ("\n\n", {}, "is empty"),
        ("a,y\n", {}, "a line of names and no rows"),
        ("a,a,y\n1,2,3\n", {}, "several columns of the name 'a'"),
        ("a,y\nx,1\né,1\n".encode("latin1"), {}, "not UTF-8 .byte 0xe9 in line 3.; save it as UTF-8"),
        ("a,y\n1,2\n".encode("utf-16"), {}, "not UTF-8 .byte 0xff in line 1"),
        ("a,b,y\n1,2,3\n\n1,2\n", {}, "line 4 has 2 cells; expected 3, as in the line of names"),
        ("a,y\n1,1\n1,2,3\n", {}, "line 3 has 3 cells; expected 2"),
        ('a,y\n1,1\n"2,3\n4,4\n', {}, "line 3 opens a quote that is never closed"),
        ('\na,y\n"p\n\n1",1\np,3\np,3\np,inf\n', {}, "line 8, column 'y': 'inf' is not a finite number"),
        ("a,y\n1,1\n\n2,1\nfew,1\n", {}, "line 5, column 'a': 'few' is not a number; .* task.missing .*categories"),
        ("a,y\n1,1\n2,1\n1e999,1\n", {}, "line 4, column 'a': '1e999' is not a finite number"),
        ('a,y\n1,1\n2,1\n"1,5",1\n', {}, "'1,5' is not a number .decimals are written with a point."),
        ("a,y\n1,1\n2,\n3,NA\n", {}, "line 3, column 'y': there is no value, nor in 1 more; every row needs a target"),
        ("a,y\n1,1\n2,2\n3,x\n", {}, "line 4, column 'y': 'x' is not a number; .* classes = true"),
        (
            "a,b,c,y\n1,,2020-01-02,1\n2,,2021-01-02,1\n",
            {},
            "'b' has no values; exclude it\n.*'c' holds dates; exclude",
        ),
        (f"a,y\n{ids(30)}", {}, "'a' has 30 different texts in 30 rows, like an id; exclude it, or .* task.categories"),
        (f"y,a\n{ids(30)}", {}, "task.target: column 'y' has 30 different texts"),
        ("a,y\n" + "".join(f'"{row},5",1\n' for row in range(30)), {}, "'a' has decimal commas, such as '0,5'"),
        ("a,y\n1,x\n", {"classes": False}, "task.classes: false, but the target 'y' holds category values"),
        ("a,y\n1,2020-01-01\n", {}, "task.target: column 'y' holds dates"),
        ("Age,y\n1,1\n", {"inputs": ["age"]}, "task.inputs: there is no column 'age' in .*; did you mean 'Age'"),
        ("a,y\n1,1\n", {"target": "z"}, "task.target: there is no column 'z' in .*; valid: a, y"),
        ("a,y\n1,1\n", {"target": []}, "task.target: got no column"),
        ("a,y\n1,1\n", {"inputs": ["a", "y"]}, "task.inputs: the column 'y' is named in task.target"),
        ("a,y\n1,1\n", {"inputs": ["a", "a"]}, "task.inputs: names the column 'a' more than once"),
        ("a,y\n1,1\n", {"exclude": ["y"]}, "task.exclude: the column 'y' has another use"),
        ("a,y\n1,1\n", {"exclude": ["a"]}, "task.inputs: no column is left"),
        ("a,y\n1,1\n", {"weights": "y"}, "task.weights: the column 'y' is the target"),
        ("a,b,y\n1,1,1\n", {"categories": ["b"], "exclude": ["b"]}, "task.categories: the column 'b' is not an input"),
        ("a,w,y\n1,-1,1\n", {"weights": "w"}, "line 2, column 'w': the weight -1 is below 0"),
        ("a,g,y\n1,,1\n", {"groups": "g"}, "line 2, column 'g': there is no value; task.groups needs one"),
        ("a,s,y\n1,train,1\n1,validate,1\n", {"split": "s"}, "line 3, column 's': got 'validate'; .* 'validation'"),
        ("a,t,y\n1,01/02/2020,1\n", {"order": "t"}, "'01/02/2020' may be day or month first"),
        ("a,t,y\n1,soon,1\n", {"order": "t"}, "line 2, column 't': 'soon' has no order"),
    ],
)
def test_refusals(load, content, keys, message):
    with pytest.raises(InputError, match=f"(?s)^(?=task[.]).*{message}"):
        load(content, **keys)


def test_texts_that_hardly_repeat_may_be_declared_categories(load):
    assert load(f"a,y\n{ids(30)}", categories=["a"]).first["one_hot"].features == [0]


def test_a_wrong_path(load, tmp_path):
    load(FLOWERS, "kind")
    for name, message in (("dat.csv", "did you mean 'data.csv'"), ("", "is a folder"), ("no/a.csv", "no folder")):
        table = {"use": "csv", "path": str(tmp_path / name), "target": "kind"}
        with pytest.raises(InputError, match=f"^task.path: .*{message}"):
            FORMATS["csv"].model_validate(table).load()


def test_new_rows(load, written, capsys):
    examples = load(FLOWERS, "kind")
    capsys.readouterr()
    rows = examples.read(written("color,more,width\nwhite,x,2\nred,,\n,1,3.5\n"))
    np.testing.assert_array_equal(rows, [[2, 1], [NAN, 0], [3.5, NAN]])
    np.testing.assert_array_equal(examples.read(written(FLOWERS)), examples.inputs)
    assert not capsys.readouterr().err
    rows = examples.read(written("width,color\n1,blue\n2,green\n3,blue\n4,red\n"))
    assert rows[:, 1].tolist() == [-1, -1, -1, 0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("new.csv: column 'color': 'blue', 'green' not in the training file; counted as no category")
    steps = {"impute": preprocess.STEPS["impute"](), **examples.steps}
    prepared = preprocess.fit(examples.first | steps, examples.inputs, examples.targets)
    assert prepared.transform(rows).shape == (4, 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("color\nred\n", "new.csv: there is no column 'width', which the model's inputs need; valid: color"),
        (
            "width,color\n1,red\n2,red\nwide,red\n",
            "new.csv: line 4, column 'width': 'wide' is not a number; expected numbers, as in training",
        ),
        ("width,color\ntrue,red\n", "new.csv: line 2, column 'width': 'true' is not a number"),
        ("width;color\n1;red\n", 'new.csv: the first line .* expected separator = ";"'),
        ("width,color\n", "new.csv: has a line of names and no rows"),
    ],
)
def test_new_rows_that_do_not_fit(load, written, content, message):
    examples = load(FLOWERS, "kind")
    with pytest.raises(InputError, match=message):
        examples.read(written(content))


def test_whole_numbers_here_and_real_ones_there(load, written):
    examples = load("a,flag,y\n1,true,1\n2,false,0\n")
    assert examples.read(written("a,flag\n1.5,1\n,0\n"))[:, 1].tolist() == [1, 0]
    assert examples.read(written("a,flag\n1.5,1\n2,0\n"))[:, 0].tolist() == [1.5, 2]


def test_an_empty_line_of_a_file_with_one_column_is_a_missing_value(load, written):
    examples = load("a,y\n1,1\n2,0\n")
    np.testing.assert_array_equal(examples.read(written("a\n1\n\n3\n")), [[1], [NAN], [3]])
