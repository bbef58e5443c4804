"""Folders with one sub-folder per class, which may be within `train`, `validation` and `test`."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.formats.places import folders, listed, some, warn

SPLITS = ("train", "validation", "test")


class Classed(NamedTuple):
    """The files of all classes, with the number of each one's class."""

    files: list[Path]
    targets: np.ndarray  # int32[files]
    labels: list[str]  # of the classes: the names of their folders, sorted
    split: np.ndarray | None  # of each file, if the folder says so


def classed(folder: Path, accepts: Callable[[Path], bool], what: str, at: str) -> Classed:
    """The files of a folder that `accepts` takes; how many others there are is said in one line.

    Raises:
        InputError: there are not at least two classes with files, or training has none of a class.
    """
    parts = _parts(folder, at)
    found: list[tuple[Path, str, str]] = []
    ignored = [path for place in {folder, *parts.values()} for path in listed(place) if path.is_file()]
    for split, part in parts.items():
        for place in folders(part):
            for path in listed(place):
                if path.is_dir():
                    raise InputError(f"{at}{path}: is a folder within the folder of a class; expected {what} alone")
                if accepts(path):
                    found.append((path, place.name, split))
                else:
                    ignored.append(path)
    names = sorted({name for _, name, _ in found})
    if len(names) < 2:
        has = f"has {what} in the folder {names[0]!r} only" if names else f"has no folders with {what}"
        raise InputError(f"{at}{folder}: {has}; expected one folder per class, at least two")
    empty = {place.name for part in parts.values() for place in folders(part)} - set(names)
    if empty:
        raise InputError(f"{at}{folder}: the folder {some(sorted(empty))} has no {what}; expected one folder per class")
    if ignored:
        which = f"{len(ignored)} of {len(ignored) + len(found)} files: {some([path.name for path in ignored], 3)}"
        warn(f"{folder}: only {what} in the folders of classes are read; ignored {which}")
    is_split = "" not in parts
    untrained = set(names) - {name for _, name, split in found if split == "train"}
    if is_split and untrained:
        raise InputError(f"{at}{folder / 'train'}: has no {what} of the class {some(sorted(untrained))}")
    return Classed(
        [path for path, _, _ in found],
        np.array([names.index(name) for _, name, _ in found], np.int32),
        names,
        np.array([split for _, _, split in found]) if is_split else None,
    )


def _parts(folder: Path, at: str) -> dict[str, Path]:
    """The folders that hold those of the classes, by the name of the split; one without a name if there is no split."""
    places = folders(folder)
    train = next((place for place in places if place.name == "train" and folders(place)), None)
    if train is None:
        return {"": folder}
    for place in places:
        if place.name not in SPLITS:
            raise InputError(f"{at}{folder}: has a folder {place.name!r} beside 'train'; {nearest(place.name, SPLITS)}")
    return {place.name: place for place in places}
