"""Rows read by position, steps fitted in blocks, and what is said of streams that cannot be."""

import os

import numpy as np
import pytest

from optchain import lab
from optchain.lab.base.errors import InputError
from optchain.lab.data import positioned, preprocess
from optchain.lab.data.formats import FORMATS
from optchain.lab.data.formats.archives import in_file
from optchain.lab.data.preprocess.step import cut
from optchain.lab.data.streaming import of_stream
from optchain.lab.data.tables import TaskTable

ROWS = np.random.default_rng(0).normal(size=(50, 3))
TABLE = TaskTable()


@pytest.fixture
def saved(tmp_path):
    """The path of a file with rows."""
    np.save(tmp_path / "x.npy", ROWS)
    return tmp_path / "x.npy"


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_rows_are_read_in_any_order(saved, name):
    np.savez(saved.with_suffix(".npz"), other=np.arange(7), x=ROWS)
    found = in_file(saved.with_name(name), "")
    array = found if name == "x.npy" else found.in_file("x")
    for numbers in ([], [3], [49, 0, 1, 2, 0, 48], np.random.default_rng(1).permutation(50)):
        np.testing.assert_array_equal(array[np.array(numbers, int)], ROWS[np.array(numbers, int)])
    assert (array.shape, array.dtype, len(array)) == (ROWS.shape, ROWS.dtype, 50)


def test_a_pass_reads_all_rows_in_blocks(saved, monkeypatch):
    monkeypatch.setattr(positioned, "BLOCK", 7 * 24)
    blocks = list(in_file(saved, "").blocks())
    assert [len(block) for block in blocks] == [7] * 7 + [1]
    np.testing.assert_array_equal(np.concatenate(blocks), ROWS)


def test_a_file_that_changes_or_ends_early_is_refused(saved):
    array = in_file(saved, "")
    np.save(saved, ROWS[:20])
    with pytest.raises(InputError, match="x.npy has changed since training began"):
        array[np.arange(2)]
    np.save(saved, ROWS)
    os.truncate(saved, saved.stat().st_size - 30)
    with pytest.raises(InputError, match="x.npy ends before row 47"):
        in_file(saved, "")[np.array([3, 47, 48])]


def test_files_that_have_no_rows_one_by_one_are_refused(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", x=ROWS, y=ROWS[:, 0])
    table = {"use": "arrays", "path": str(tmp_path / "x.npz"), "stream": True}
    with pytest.raises(InputError, match="the array 'x' is compressed, so that its rows cannot be read one by one"):
        FORMATS["arrays"].model_validate(table).load()
    np.save(tmp_path / "x.npy", np.asfortranarray(ROWS))
    with pytest.raises(InputError, match="x.npy: is stored by columns; expected rows"):
        in_file(tmp_path / "x.npy", "")


STEPS = {
    "standardize": {},
    "standardize all": {"per": "all"},
    "min_max": {},
    "impute": {"by": "mean"},
    "one_hot": {"features": [1]},
}


@pytest.mark.parametrize("name", STEPS)
def test_steps_learn_the_same_in_blocks_as_from_all_rows(name, monkeypatch):
    rows = ROWS.copy()
    rows[:, 1] = np.arange(50) % 3
    rows[4::9, 2] = np.nan
    use = name.split()[0]
    step = preprocess.STEPS[use].model_validate({"use": use} | STEPS[name])
    whole = step.fit(rows, np.empty(50)).transform(rows)
    monkeypatch.setattr(positioned, "BLOCK", 8 * 3 * 11)
    assert len(list(cut(rows))) == 5
    in_blocks = step.fit_in_blocks(cut(rows)).transform(rows)
    np.testing.assert_allclose(in_blocks, whole, rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(step.fit(rows, np.empty(50)).transform(rows), in_blocks)


def test_steps_follow_one_another_in_passes(monkeypatch):
    monkeypatch.setattr(positioned, "BLOCK", 8 * 3 * 11)
    rows, steps = ROWS.copy(), {"i": lab_step("impute", by="mean"), "s": lab_step("standardize")}
    rows[4::9, 2] = np.nan
    found = of_stream(stream(rows), TABLE, steps)
    expected = preprocess.fit(steps, rows, ROWS[:, 0]).inputs
    np.testing.assert_array_equal(found.stream.read(np.arange(50)).inputs, expected)


def lab_step(use, **keys):
    return preprocess.STEPS[use].model_validate({"use": use} | keys)


def stream(inputs=ROWS, targets=ROWS[:, 0], **keys):
    return lab.Stream(list(zip(inputs, targets, strict=True)), **keys)


def test_a_row_without_a_number_is_named():
    rows = ROWS.copy()
    rows[31, 2] = np.inf
    with pytest.raises(InputError, match=r"feature 3 of example 31 \(from 0\) is missing or not finite"):
        of_stream(stream(rows), TABLE, {"s": lab_step("standardize")})
    with pytest.raises(InputError, match=r"feature 3 of example 31 \(from 0\) is missing or not finite"):
        of_stream(stream(rows), TABLE, {})  # when the row is read


def test_the_table_may_hold_examples_out():
    """All examples are in one split, and the test split does not depend on the size of the validation split."""
    task = of_stream(stream(), TaskTable(validation=10, test=0.1), None)
    found = [task.stream.read(np.arange(35)), task.splits["validation"], task.splits["test"]]
    assert [part.size for part in found] == [task.size, 10, 5]
    values = np.concatenate([part.inputs for part in found])
    np.testing.assert_array_equal(np.sort(values, axis=0), np.sort(ROWS.astype(np.float32), axis=0))
    other = of_stream(stream(), TaskTable(validation=3, test=0.1), None)
    np.testing.assert_array_equal(other.splits["test"].inputs, found[2].inputs)


class Uneven:
    def __len__(self):
        return 9

    def rows(self, numbers):
        return ROWS[numbers], ROWS[numbers[:-1], 0]


SAID = {
    "a Stream are int; expected an object with len": lambda: lab.Stream(5),
    "targets of the Stream are classes, and it does not say which": lambda: stream(targets=np.arange(50)),
    r"gives arrays with \['0', '1'\] rows; expected 1 of each": lambda: lab.Stream(Uneven()),
    "gives float64; expected inputs and targets": lambda: lab.Stream(ROWS[:, 0]),
    "a target of the Stream is 3; expected numbers of 3 labels": lambda: of_stream(
        stream(targets=np.arange(50), labels=["a", "b", "c"]), TABLE, None
    ),
    "task.test: got 5, and the Stream has test examples itself": lambda: of_stream(
        stream(test=(ROWS, ROWS[:, 0])), TaskTable(test=5), None
    ),
    "50 of 50 examples are held out": lambda: of_stream(stream(), TaskTable(validation=50), None),
    "validation of the Stream gives ndarray": lambda: of_stream(stream(validation=ROWS), TABLE, None),
}


@pytest.mark.parametrize("said", SAID)
def test_streams_that_do_not_fit_are_refused(said):
    with pytest.raises(InputError, match=said):
        SAID[said]()
