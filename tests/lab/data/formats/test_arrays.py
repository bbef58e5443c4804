"""Arrays that NumPy saved: by their types and shapes."""

import numpy as np
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats import FORMATS

NAN = np.nan
REAL = np.array([[1.5, NAN], [2, 3]])
BYTES = np.arange(32, dtype=np.uint8).reshape(2, 4, 4)


@pytest.fixture
def load(tmp_path):
    """Examples of an .npz with these arrays."""

    def load(arrays, **keys):
        np.savez(tmp_path / "data.npz", **arrays)
        return FORMATS["arrays"].model_validate({"use": "arrays", "path": str(tmp_path / "data.npz")} | keys).load()

    return load


@pytest.fixture
def saved(tmp_path):
    """The path of new arrays."""

    def saved(array=None, **arrays):
        path = tmp_path / ("new.npz" if array is None else "new.npy")
        np.savez(path, **arrays) if array is None else np.save(path, array)
        return path

    return saved


def test_real_inputs(load):
    examples = load({"x": REAL.astype(np.float32), "y": np.array([1, 0])})
    np.testing.assert_array_equal(examples.inputs, REAL)
    assert examples.inputs.dtype == np.float64 and list(examples.steps) == ["impute", "standardize"]
    assert examples.targets.tolist() == [1, 0] and not examples.scale and examples.ids is None
    assert list(load({"x": REAL[1:], "y": np.array([1])}).steps) == ["standardize"]
    assert load({"x": REAL[1], "y": np.array([1, 0])}).inputs.shape == (2, 1)


def test_whole_numbers_are_ids(load, saved):
    examples = load({"inputs": np.array([[1, 9], [2, 3]], np.int64), "targets": np.array([0.5, 1])})
    assert (examples.inputs.dtype, examples.steps, examples.ids, examples.scale) == (np.int32, None, 10, True)
    assert examples.read(saved(np.array([[9, 0]]))).tolist() == [[9, 0]]
    with pytest.raises(InputError, match="new.npy: 'inputs' holds 1 to 10; expected ids from 0 to 9"):
        examples.read(saved(np.array([[1, 10]])))


def test_bytes_with_height_and_width_are_images(load, saved):
    examples = load({"x": BYTES, "y": np.array(["b", "a"])})
    assert examples.inputs.shape == (2, 4, 4, 1) and examples.inputs.dtype == np.float32
    assert examples.steps["standardize"].per == "all" and examples.targets.tolist() == ["b", "a"]
    for new in (BYTES, BYTES[..., None], BYTES.astype(np.int64), BYTES.astype(np.float64)):
        found = examples.read(saved(new))
        np.testing.assert_array_equal(found, examples.inputs)
        assert found.dtype == np.float32
    assert load({"x": np.repeat(BYTES[..., None], 3, -1), "y": np.array([0, 1])}).inputs.shape == (2, 4, 4, 3)


def test_several_inputs(load, saved):
    arrays = {"a": np.ones((2, 3)), "b": np.array([1, 2]), "y": np.array([True, False])}
    examples = load(arrays, inputs=["a", "b"])
    assert {name: x.dtype for name, x in examples.inputs.items()} == {"a": np.float64, "b": np.int32}
    assert examples.steps is None
    assert list(examples.read(saved(b=arrays["b"], a=arrays["a"]))) == ["a", "b"]
    with pytest.raises(InputError, match="new.npz: there is no array 'b'"):
        examples.read(saved(a=arrays["a"]))
    with pytest.raises(InputError, match="expected an .npz with a, b"):
        examples.read(saved(arrays["a"]))


def test_other_arrays(load):
    arrays = {"x": REAL, "y": np.array([[1], [0]]), "w": np.array([1, 2]), "g": np.array([b"p", b"q"])}
    arrays |= {"t": np.array(["2020-01-02", "2020-01-01"], "datetime64[D]"), "s": np.array(["train", "test"])}
    examples = load(arrays, weights="w", groups="g", order="t", split="s")
    assert examples.targets.tolist() == [1, 0] and examples.weights.tolist() == [1, 2]
    assert examples.groups.tolist() == ["p", "q"] and examples.order[0] - examples.order[1] == 86400
    assert examples.split.tolist() == ["train", "test"]


def test_two_files(tmp_path, saved):
    np.save(tmp_path / "x.npy", REAL)
    np.save(tmp_path / "y.npy", np.array([0.5, 1]))
    table = {"use": "arrays", "path": str(tmp_path / "x.npy"), "targets_path": str(tmp_path / "y.npy")}
    examples = FORMATS["arrays"].model_validate(table).load()
    np.testing.assert_array_equal(examples.inputs, REAL)
    np.testing.assert_array_equal(examples.read(saved(REAL)), REAL)
    with pytest.raises(InputError, match="task.weights: names an array in an .npz"):
        FORMATS["arrays"].model_validate(table | {"weights": "w"}).load()
    with pytest.raises(InputError, match="task.targets_path: missing; x.npy holds the inputs alone"):
        FORMATS["arrays"].model_validate({"use": "arrays", "path": table["path"]}).load()
    with pytest.raises(InputError, match="task.targets_path: .*z.npy: does not exist; did you mean 'y.npy'"):
        FORMATS["arrays"].model_validate(table | {"targets_path": str(tmp_path / "z.npy")}).load()


def test_new_inputs_that_do_not_fit(load, saved):
    examples = load({"x": REAL, "y": np.array([1, 0])})
    assert examples.read(saved(np.array([[1, 2]]))).tolist() == [[1, 2]]
    assert examples.read(saved(x=np.array([[1, 2]]))).tolist() == [[1, 2]]
    expected = r"'x' is float64\[1, 3\]; expected float64\[rows, 2\], as in training"
    with pytest.raises(InputError, match=expected):
        examples.read(saved(np.ones((1, 3))))
    with pytest.raises(InputError, match="new.npy: row 0 of 'x' holds inf"):
        examples.read(saved(np.array([[1, np.inf]])))


@pytest.mark.parametrize(
    ("arrays", "keys", "message"),
    [
        ({"x": REAL}, {}, "task.targets: there is no array 'targets' in the .npz; valid: x"),
        ({"images": REAL, "y": [0, 1]}, {"inputs": "image"}, "task.inputs: .* 'image' .*; did you mean 'images'"),
        ({"x": REAL, "y": [0, 1]}, {"inputs": []}, "task.inputs: got no array"),
        ({"x": [[np.inf], [1]], "y": [0, 1]}, {}, "task.path: row 0 of inputs 'x' holds inf; expected finite"),
        ({"x": REAL, "y": [0, 1]}, {"inputs": ["x"]}, "row 0 of inputs 'x' holds nan; .* no step applies of several"),
        ({"x": ["a", "b"], "y": [0, 1]}, {}, "inputs 'x' holds <U1; expected numbers"),
        ({"x": [1j, 2], "y": [0, 1]}, {}, "inputs 'x' holds complex128"),
        ({"x": [2**40, 2], "y": [0, 1]}, {}, "inputs 'x' holds 2 to 1099511627776; expected int32"),
        ({"x": np.ones((0, 2)), "y": []}, {}, r"inputs 'x' has shape \(0, 2\); expected at least one row"),
        ({"x": REAL, "y": [0, NAN]}, {}, "task.targets: row 1 of the targets holds nan"),
        ({"x": REAL, "y": [0, 1, 2]}, {}, "task: .*targets has 3 rows"),
        ({"x": REAL, "y": np.array([None, 1])}, {}, "the array 'y' cannot be read .* it holds Python objects"),
        ({"x": REAL, "y": [0, 1], "w": [-1, 1]}, {"weights": "w"}, "task.weights: row 0 is -1; expected at least 0"),
        ({"x": REAL, "y": [0, 1], "w": [[1], [1]]}, {"weights": "w"}, r"task.weights: .* shape \(2, 1\)"),
        ({"x": REAL, "y": [0, 1], "s": [0, 1]}, {"split": "s"}, "task.split: the array holds int64; expected strings"),
        ({"x": REAL, "y": [0, 1], "s": ["train", "tst"]}, {"split": "s"}, "task.split: got 'tst'; .* 'test'"),
    ],
)
def test_refusals(load, arrays, keys, message):
    with pytest.raises(InputError, match=message):
        load(arrays, **keys)


def test_an_array_of_objects_that_is_not_used_is_not_read(load):
    assert len(load({"x": REAL, "y": [0, 1], "notes": np.array([None, {}])})) == 2


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04 and so on", b"\x93NUMPY\x01"])
def test_files_that_are_not_of_numpy(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(InputError, match="task.path: .*data.npz: cannot be read as .npy or .npz"):
        FORMATS["arrays"].model_validate({"use": "arrays", "path": str(tmp_path / "data.npz")}).load()
