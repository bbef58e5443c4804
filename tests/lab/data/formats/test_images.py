"""Folders of images: sizes, channels, classes and splits."""

import dataclasses
import os

import numpy as np
import pydantic
import pytest
from PIL import Image

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats import FORMATS, images


def draw(path, size=(4, 6), color=(10, 20, 30), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size[::-1], color).convert(mode).save(path)


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.full)], ids=["in memory", "stream"])
def load(request):
    """Examples of a folder, the pixels in memory or in the file where they are kept."""

    def load(folder, **keys):
        table = {"use": "images", "path": str(folder), "stream": request.param} | keys
        examples = FORMATS["images"].model_validate(table).load()
        return dataclasses.replace(examples, inputs=examples.inputs[np.arange(len(examples))])

    return load


@pytest.fixture
def folder(tmp_path):
    """Two images of dogs and one of a cat, 4 x 6."""
    for name in ("dog/a.png", "dog/b.bmp", "cat/a.png"):
        draw(tmp_path / "pets" / name)
    return tmp_path / "pets"


def test_classes_are_the_folders(load, folder):
    examples = load(folder)
    assert examples.inputs.shape == (3, 4, 6, 3) and examples.inputs.dtype == np.float32
    assert examples.inputs[0, 0, 0].tolist() == [10, 20, 30]
    assert examples.labels == ["cat", "dog"] and examples.targets.tolist() == [0, 1, 1]
    assert examples.split is None and examples.steps["standardize"].per == "all"


@pytest.mark.parametrize("load", [False], indirect=True, ids=["in memory"])
def test_what_is_ignored(load, folder, capsys):
    (folder / ".cache").mkdir()
    (folder / "dog" / ".DS_Store").write_text("")
    assert len(load(folder)) == 3 and not capsys.readouterr().err
    (folder / "dog" / "notes.md").write_text("")
    (folder / "names.txt").write_text("")
    assert len(load(folder)) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("ignored 2 of 5 files: 'names.txt', 'notes.md'")


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1", "CMYK", "LA"])
def test_modes(load, folder, mode):
    draw(folder / "dog" / "c.tif", color=(255, 255, 255), mode=mode)
    assert load(folder).inputs[-1].min() == 255
    assert load(folder, channels=1).inputs.shape == (4, 4, 6, 1)


def test_sixteen_bits_are_scaled(load, folder):
    Image.fromarray(np.full((4, 6), 65535, np.uint16)).save(folder / "dog" / "c.png")
    assert load(folder).inputs[-1].min() == 255


def test_pictures_are_turned_as_the_camera_says(load, folder):
    image = Image.new("RGB", (4, 6))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(folder / "dog" / "c.jpg", exif=exif)
    assert len(load(folder)) == 4


def test_sizes(load, folder):
    draw(folder / "dog" / "c.png", (5, 6))
    with pytest.raises(InputError, match=r"task.path: .*c.png: has size \[5, 6\] .* or size = \[4, 6\] in \[task\]"):
        load(folder)
    assert load(folder, size=[8, 10]).inputs.shape == (4, 8, 10, 3)
    for size in ([8], [0, 8], [8, 8, 8]):
        with pytest.raises(pydantic.ValidationError):
            load(folder, size=size)


def test_folders_of_splits(load, tmp_path):
    for name in ("train/a/1.png", "train/b/1.png", "test/b/1.png", "validation/a/1.png"):
        draw(tmp_path / name)
    examples = load(tmp_path)
    assert examples.split.tolist() == ["test", "train", "train", "validation"]
    assert examples.targets.tolist() == [1, 0, 1, 0] and examples.labels == ["a", "b"]
    draw(tmp_path / "test" / "c" / "1.png")
    with pytest.raises(InputError, match="train: has no images of the class 'c'"):
        load(tmp_path)
    draw(tmp_path / "validate" / "a" / "1.png")
    with pytest.raises(InputError, match="has a folder 'validate' beside 'train'; did you mean 'validation'"):
        load(tmp_path)


def test_train_may_be_a_class(load, tmp_path):
    for name in ("train/1.png", "bus/1.png"):
        draw(tmp_path / name)
    assert load(tmp_path).labels == ["bus", "train"]


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n and so on", b"GIF89a"])
def test_images_that_cannot_be_read_are_named(load, folder, content):
    (folder / "dog" / "c.png").write_bytes(content)
    with pytest.raises(InputError, match="task.path: .*c.png: cannot be read: .*; repair or remove it"):
        load(folder)


def test_an_image_that_ends_too_early(load, folder):
    pixels = np.random.default_rng(0).integers(0, 255, (4, 6, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "dog" / "c.png")
    whole = (folder / "dog" / "c.png").read_bytes()
    (folder / "dog" / "c.png").write_bytes(whole[:70])
    with pytest.raises(InputError, match="c.png: cannot be read"):
        load(folder)


def test_folders_that_do_not_fit(load, folder, tmp_path):
    with pytest.raises(InputError, match="task.path: .*pet: does not exist; did you mean 'pets'"):
        load(tmp_path / "pet")
    with pytest.raises(InputError, match="a.png: is a file; expected a folder"):
        load(folder / "dog" / "a.png")
    with pytest.raises(InputError, match="dog: has no folders with images"):
        load(folder / "dog")
    with pytest.raises(InputError, match="has images in the folder 'pets' only; expected one folder per class"):
        (tmp_path / "one").mkdir()
        folder.rename(tmp_path / "one" / "pets")
        (tmp_path / "one" / "pets" / "dog" / "a.png").rename(tmp_path / "one" / "pets" / "a.png")
        for name in ("dog", "cat"):
            (tmp_path / "one" / "pets" / name).rename(tmp_path / name)
        load(tmp_path / "one")


def test_folders_within_or_without_images(load, folder):
    (folder / "bird").mkdir()
    with pytest.raises(InputError, match="the folder 'bird' has no images"):
        load(folder)
    draw(folder / "bird" / "small" / "a.png")
    with pytest.raises(InputError, match="small: is a folder within the folder of a class"):
        load(folder)


def test_new_images(load, folder, tmp_path, capsys):
    examples = load(folder)
    assert examples.read(folder / "cat" / "a.png").shape == (1, 4, 6, 3)
    (folder / "dog" / "notes.md").write_text("")
    assert examples.read(folder / "dog").shape == (2, 4, 6, 3)
    assert "ignored 1 of 3 files that are not images" in capsys.readouterr().err
    draw(tmp_path / "new.png", (5, 6))
    with pytest.raises(InputError, match=r"new.png: has size \[5, 6\]; expected \[4, 6\], as in training"):
        examples.read(tmp_path / "new.png")
    with pytest.raises(InputError, match="no.png: does not exist"):
        examples.read(tmp_path / "no.png")
    with pytest.raises(InputError, match="there are no images"):
        examples.read(tmp_path / "pets")
    (folder / "dog" / "notes.md").unlink()
    assert load(folder, size=[3, 3], channels=1).read(tmp_path / "new.png").shape == (1, 3, 3, 1)


@pytest.mark.parametrize("load", [True], indirect=True, ids=["stream"])
def test_pixels_are_kept_until_an_image_changes(load, folder, capsys):
    load(folder)
    load(folder)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("writing pets.") and line.endswith(
        ".rows.npy beside pets once, up to 0.00022 MB on the disk"
    )
    draw(folder / "dog" / "a.png", color=(7, 7, 7))
    assert load(folder).inputs[1].max() == 7
    assert "; pets or how it is read has changed since pets." in capsys.readouterr().err


@pytest.mark.parametrize("load", [True], indirect=True, ids=["stream"])
def test_an_image_that_changes_while_the_folder_is_read(load, folder, monkeypatch):
    read = images._pixels

    def changing(file, *more):
        os.utime(file, (0, len(file.name) + os.stat(file).st_mtime))
        return read(file, *more)

    monkeypatch.setattr(images, "_pixels", changing)
    with pytest.raises(InputError, match="pets: has changed while it was read; start the command again"):
        load(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["pets"]
