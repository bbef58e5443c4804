"""Messages: arrays arrive bit for bit, and what is no message, or is of another model, is refused by name."""

import pickle

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.workers.messages import by_path, decode, encode, matched, require_same

TREE = {"dense": {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3), "bias": np.zeros(0, np.float32)}}


@pytest.mark.parametrize("dtype", [np.float32, np.int32, np.bool_, ml_dtypes.bfloat16])
def test_arrays_arrive_bit_for_bit(dtype):
    x = np.array([[0.1, -3.0, 1e9]]).astype(dtype)
    told = decode(encode({"piece": 3, "logs": {"loss": float("nan")}, "arrays": by_path({"x": jnp.asarray(x)})}))
    found = told["arrays"]["x"]
    assert found.dtype == x.dtype and found.tobytes() == x.tobytes()
    assert told["piece"] == 3 and np.isnan(told["logs"]["loss"])


def test_a_tree_comes_back():
    found = matched(decode(encode(by_path(TREE))), TREE, "it")
    assert jax.tree.structure(found) == jax.tree.structure(TREE)
    np.testing.assert_array_equal(found["dense"]["kernel"], TREE["dense"]["kernel"])


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        (None, "'dense/bias' is missing"),
        ({"dense/kernel": TREE["dense"]["kernel"], "dense/bais": np.zeros(0, np.float32)}, "did you mean 'dense/bais'"),
        (
            by_path(TREE) | {"dense/kernel": np.zeros((3, 2), np.float32)},
            r"is float32\[3, 2\]; expected float32\[2, 3\]",
        ),
        (by_path(TREE) | {"dense/kernel": np.zeros((2, 3))}, r"is float64\[2, 3\]; expected float32\[2, 3\]"),
        (by_path(TREE) | {"dense/kernel": "text"}, r"is str; expected float32\[2, 3\]"),
        (by_path(TREE) | {"more": np.zeros(1)}, "there is no 'more'"),
    ],
)
def test_other_arrays_are_refused_by_name(arrays, expected):
    with pytest.raises(InputError, match=expected):
        matched(arrays, TREE, "it")


class Harmful:
    def __reduce__(self):
        return pytest.fail, ("a pickle was read",)


@pytest.mark.parametrize("content", [b"", b"\xc1", b"\x05", pickle.dumps(Harmful()), b"\xc7\x03\x01abc"])
def test_bytes_that_are_no_message_are_refused(content):
    with pytest.raises(InputError, match="got"):
        decode(content)


def test_no_array_of_objects_is_read():
    content = encode({"x": np.zeros(2, np.int64)}).replace(b"int64", b"objec").replace(b"objec", b"O8   ")
    with pytest.raises(InputError, match="not a message"):
        decode(content)


def test_what_differs_is_named():
    told = {"optchain": "1", "settings": {"model.hidden": "[8]"}, "arrays": {"params": {"w": "float32[2]"}, "rest": {}}}
    require_same(told, told)
    for changed, expected in (
        ({"optchain": "2"}, "the worker has optchain 2, the server 1"),
        ({"settings": {"model.hidden": "[9]"}}, r"model.hidden: the worker has \[9\], the server \[8\]"),
        ({"settings": {}}, r"model.hidden: the worker has absent, the server \[8\]"),
        (
            {"arrays": {"params": {"w": "float32[3]"}, "rest": {}}},
            r"parameters: 'w' is float32\[3\]; expected float32\[2\]",
        ),
    ):
        with pytest.raises(InputError, match=expected):
            require_same(told | changed, told)
