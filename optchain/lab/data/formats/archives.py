"""Files of NumPy: an `.npy` with one array, or an `.npz` with several, read whole or by rows."""

import contextlib
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data.formats.places import require_file
from optchain.lab.data.positioned import FileArray, stamp_of


class Archive(Mapping[str, np.ndarray]):
    """The arrays of an `.npz`, each read when it is asked for."""

    def __init__(self, path: Path, at: str, names: list[str]) -> None:
        self.path, self.at, self.names = path, at, names

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self.names:
            raise KeyError(name)
        with explained(self.path, f"{self.at}{self.path}: the array {name!r}"), self.path.open("rb") as stream:
            return np.load(stream, allow_pickle=False)[name]

    def in_file(self, name: str) -> FileArray:
        """An array whose rows are read from the file when they are needed.

        Raises:
            InputError: the array is compressed, or cannot be read by rows.
        """
        what = f"{self.at}{self.path}: the array {name!r}"
        with explained(self.path, what), zipfile.ZipFile(self.path) as archive:
            member = archive.getinfo(f"{name}.npy")
            if member.compress_type != zipfile.ZIP_STORED:
                cure = "expected one that is not: use np.savez, or np.save and task.targets_path"
                raise InputError(f"{what} is compressed, so that its rows cannot be read one by one; {cure}")
            with self.path.open("rb") as file:
                file.seek(member.header_offset + 26)  # where the lengths of the name and of what follows it stand
                lengths = struct.unpack("<HH", file.read(4))
                file.seek(sum(lengths), os.SEEK_CUR)
                return _in_file(file, self.path, what)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:  # without reading the array
        return name in self.names


def loaded(path: Path, at: str) -> np.ndarray | Archive:
    """The array of an `.npy`, or the arrays of an `.npz`."""
    require_file(path, at)
    with explained(path, f"{at}{path}:"), path.open("rb") as stream:
        file = np.load(stream, allow_pickle=False)
        return file if isinstance(file, np.ndarray) else Archive(path, at, file.files)


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Errors of NumPy within say what cannot be read."""
    try:
        yield
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        if "allow_pickle" in why:
            is_numpy = zipfile.is_zipfile(path) or path.read_bytes()[:6] == b"\x93NUMPY"
            why = "it holds Python objects; save numbers or strings" if is_numpy else "it is not a file of NumPy"
        raise InputError(f"{what} cannot be read as .npy or .npz: {why}") from None


def in_file(path: Path, at: str) -> FileArray | Archive:
    """The array of an `.npy`, whose rows are read when they are needed, or the arrays of an `.npz`.

    Raises:
        InputError: it is not a file of NumPy, or its rows cannot be read one by one.
    """
    require_file(path, at)
    if zipfile.is_zipfile(path):
        with explained(path, f"{at}{path}:"), zipfile.ZipFile(path) as archive:
            return Archive(path, at, [name.removesuffix(".npy") for name in archive.namelist()])
    with explained(path, f"{at}{path}:"), path.open("rb") as file:
        return _in_file(file, path, f"{at}{path}:")


def _in_file(file: BinaryIO, path: Path, what: str) -> FileArray:
    """The array whose header begins where the file stands."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise InputError(f"{what} has the format {version}; expected an array of numbers without names of fields")
    first = version == (1, 0)
    read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
    shape, is_by_column, kind = read(file)
    if is_by_column or not shape or kind.hasobject:
        found = "by columns" if is_by_column else "as Python objects" if kind.hasobject else "as one number"
        raise InputError(f"{what} is stored {found}; expected rows: save np.ascontiguousarray of it")
    return FileArray(path, file.tell(), shape, kind, stamp_of(path))
