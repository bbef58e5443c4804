"""Text files: classes of whole files, and the next byte."""

import dataclasses

import numpy as np
import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats import FORMATS, textfiles


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.full)], ids=["in memory", "stream"])
def load(request, monkeypatch):
    """Examples of texts, in memory, or in the file where they are kept, read in blocks of some bytes."""
    if request.param:
        monkeypatch.setattr(textfiles, "BLOCK", 5)

    def load(path, **keys):
        table = {"use": "textfiles", "path": str(path), "stream": request.param} | keys
        examples = FORMATS["textfiles"].model_validate(table).load()
        rows = np.arange(len(examples))
        return dataclasses.replace(examples, inputs=examples.inputs[rows], targets=examples.targets[rows])

    return load


def test_classes_of_files(load, tmp_path):
    write(tmp_path / "mails" / "spam" / "1.txt", "buy now")
    write(tmp_path / "mails" / "ham" / "1.txt", "hé")
    write(tmp_path / "mails" / "ham" / "2.txt", "")
    examples = load(tmp_path / "mails", length=4)
    assert examples.inputs.tolist() == [[104, 0xC3, 0xA9, 0], [0, 0, 0, 0], list(b"buy ")]
    assert examples.inputs.dtype == np.int32 and examples.targets.tolist() == [0, 0, 1]
    assert (examples.labels, examples.steps, examples.ids) == (["ham", "spam"], None, 256)
    assert examples.read(write(tmp_path / "new.txt", "a")).tolist() == [[97, 0, 0, 0]]
    assert examples.read(tmp_path / "mails" / "ham").shape == (2, 4)
    assert load(tmp_path / "mails").inputs.shape == (3, 256)
    with pytest.raises(InputError, match="task.context: is for next bytes; .* say task.length"):
        load(tmp_path / "mails", context=4)
    with pytest.raises(InputError, match="mails: no file matches '[*].txt'"):
        examples.read(tmp_path / "mails")
    with pytest.raises(InputError, match="no.txt: cannot be read: No such file"):
        examples.read(tmp_path / "no.txt")


def test_folders_of_splits(load, tmp_path, capsys):
    for name in ("train/a/1.md", "train/b/1.md", "test/a/1.md", "test/a/1.txt"):
        write(tmp_path / name, name)
    examples = load(tmp_path, pattern="*.md")
    assert examples.split.tolist() == ["test", "train", "train"] and examples.targets.tolist() == [0, 0, 1]
    assert "only files like *.md in the folders of classes are read; ignored 1 of 4" in capsys.readouterr().err


def test_next_bytes_of_one_file(load, tmp_path):
    path = write(tmp_path / "book.txt", "abcdefghi" * 50)
    examples = load(path, context=3)
    assert examples.inputs[:3].tolist() == [list(b"abc"), list(b"efg"), list(b"iab")]
    assert examples.targets[:3].tolist() == [list(b"bcd"), list(b"fgh"), list(b"abc")]
    assert examples.inputs.shape == (112, 3) and examples.inputs.dtype == np.int32
    assert np.bincount(examples.groups).tolist() == [32, 32, 32, 16]
    assert (examples.loss, examples.outputs, examples.ids, examples.steps) == ("cross_entropy", 256, 256, None)
    assert examples.labels == list(range(256))
    assert examples.read(write(tmp_path / "new.txt", "hello")).tolist() == [list(b"llo")]
    with pytest.raises(InputError, match="new.txt: has 2 bytes; expected at least 3"):
        examples.read(write(tmp_path / "new.txt", "ab"))


def test_windows_do_not_cross_files(load, tmp_path):
    write(tmp_path / "b.txt", "wxyz" * 2 + "w")
    write(tmp_path / "a.txt", "abc")
    write(tmp_path / "c.txt", "0123")
    examples = load(tmp_path, context=3)
    assert examples.inputs.tolist() == [list(b"wxy"), list(b"wxy"), list(b"012")]
    assert examples.groups.tolist() == [1, 1, 2]


@pytest.mark.parametrize(
    ("name", "keys", "message"),
    [
        ("", {"pattern": "*.md"}, "task.pattern: no file of .* matches '[*].md'; there is 'book.txt'"),
        ("", {"length": 8}, "task.length: is for classes; .* say task.context"),
        ("", {"context": 99}, "task.context: .* has less than 100 bytes; expected a shorter context"),
        ("", {"context": 4, "packed": True}, "task.context: .* has less than 5 bytes; expected a shorter context"),
        ("boot.txt", {}, "task.path: .*boot.txt: does not exist; did you mean 'book.txt'"),
    ],
)
def test_refusals(load, tmp_path, name, keys, message):
    write(tmp_path / "book.txt", "abc")
    with pytest.raises(InputError, match=message):
        load(tmp_path / name, **keys)


def test_packed_windows_go_on_from_file_to_file(load, tmp_path):
    for name, text in {"b": "wxyz", "a": "abc", "c": "0123", "d": ""}.items():
        write(tmp_path / f"{name}.txt", text)
    examples = load(tmp_path, context=4, packed=True)
    assert bytes(examples.inputs.astype(np.uint8)) == b"abc\0xyz\x00123\0"
    assert bytes(examples.targets.astype(np.uint8)) == b"bc\0wyz\x00023\0\0"
    assert examples.groups.tolist() == [0, 0, 0]
    with pytest.raises(InputError, match="task.context: each of 4 files has less than 9 .*, or packed = true, so that"):
        load(tmp_path, context=8)


def test_texts_that_are_not_utf8_are_refused(load, tmp_path):
    (tmp_path / "a.txt").write_bytes("one\ntwo\ntroisième\n".encode("latin1"))
    with pytest.raises(InputError, match="task.path: .*a.txt: is not UTF-8 .byte 0xe8 in line 3.; save it as UTF-8"):
        load(tmp_path, context=2)
    (tmp_path / "a.txt").write_bytes("cut €".encode()[:-1])
    with pytest.raises(InputError, match="a.txt: is not UTF-8 .byte 0xe2 in line 1."):
        load(tmp_path, context=2)
