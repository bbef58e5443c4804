"""Arrays of NumPy: an `.npz` with several of them, or two `.npy`."""

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.formats.archives import Archive, in_file, loaded
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.preprocess.missing import Impute
from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.preprocess.step import Step
from optchain.lab.data.tables import TaskTable
from optchain.lab.settings.table import Place

SPLITS = ("train", "validation", "test")
Stored = np.ndarray | FileArray
ROLES = ("weights", "groups", "order", "split")


class Arrays(TaskTable):
    """Arrays that NumPy saved, with the examples along the first axis; arrays of Python objects are refused.

    Real inputs become float64, NaN where missing; the default steps are `impute` by the median, if values are missing,
    and `standardize`. Inputs of bytes (uint8) with three or four axes are images, float32[rows, height, width,
    channels], standardized over all values. Other whole numbers are ids or bytes, int32, to which no step applies: save
    quantities as real numbers. Several inputs become a dict of arrays, to which no step applies either.

    Targets that are whole numbers, booleans or strings are classes; real numbers are scaled for training.

    With `stream` the file must not be compressed, and no value may be missing unless `[preprocess]` has an `impute`.
    """

    use: Literal["arrays"]
    path: Place  # an .npz, or an .npy of the inputs
    inputs: str | list[str] | None = None  # arrays in the .npz: "inputs", "x" or "X" if left out
    targets: str | None = None  # an array in the .npz: "targets", "y" or "Y" if left out
    targets_path: Place | None = None  # an .npy of the targets, beside one of the inputs
    weights: str | None = None  # array of each example's weight in the loss
    groups: str | None = None  # array whose equal values are never split
    order: str | None = None  # array of numbers or dates; the last examples are held out
    split: str | None = None  # array that says "train", "validation" or "test"
    stream: bool = False  # inputs for training stay in the file until a step needs them; all else is read at once

    def load(self) -> Examples:
        """Read the files.

        Raises:
            InputError: naming the key and the array.
        """
        given, found = self._arrays()
        raw = {name: _inputs(x, f"inputs {name!r}", "task.path: ") for name, x in given.items()}
        if isinstance(self.inputs, list):
            for name, x in raw.items():
                _require_finite(x, f"inputs {name!r}", "task.path: ", "of several inputs")
            inputs, steps, ids = raw, None, None
        else:
            (inputs,) = raw.values()
            steps = _steps(inputs)
            low, high = (0, -1) if steps is not None else _ends(inputs)
            ids = high + 1 if 0 <= low <= high else None
        targets = _targets(found["targets"])
        roles: dict[str, Any] = {role: _role(role, found[role]) for role in ROLES if role in found}
        return Examples(
            inputs,
            targets,
            scale=bool(np.issubdtype(targets.dtype, np.floating)),
            steps=steps,
            ids=ids,
            read=lambda path: _read(path, raw, isinstance(self.inputs, list), ids),
            **roles,
        )

    def _arrays(self) -> tuple[dict[str, Stored], dict[str, np.ndarray]]:
        """The inputs by their names, and the other arrays by what they are for."""
        if self.targets_path is not None:
            for key in ("inputs", "targets", *ROLES):
                if getattr(self, key) is not None:
                    raise InputError(f"task.{key}: names an array in an .npz; got task.targets_path, for two .npy")
            inputs: Any = (in_file if self.stream else loaded)(self.path, "task.path: ")
            targets: Any = loaded(self.targets_path, "task.targets_path: ")
            for key, x in (("path", inputs), ("targets_path", targets)):
                if isinstance(x, Archive):
                    raise InputError(f"task.{key}: expected an .npy beside task.targets_path; got an .npz")
            return {"inputs": inputs}, {"targets": targets}
        file: Any = loaded(self.path, "task.path: ")
        if isinstance(file, np.ndarray):
            raise InputError(f"task.targets_path: missing; {self.path.name} holds the inputs alone")
        names = self.inputs if isinstance(self.inputs, list) else [_named(file, "inputs", self.inputs, "x")]
        if not names:
            raise InputError("task.inputs: got no array; expected the name of at least one")
        read = file.in_file if self.stream else file.__getitem__
        inputs = {name: read(_named(file, "inputs", name)) for name in names}
        found = {"targets": file[_named(file, "targets", self.targets, "y")]}
        found |= {role: file[_named(file, role, name)] for role in ROLES if (name := getattr(self, role)) is not None}
        return inputs, found


def _named(file: Mapping[str, np.ndarray], key: str, name: str | None, short: str = "") -> str:
    """The name of an array in the file."""
    for one in (key, short, short.upper()) if name is None else (name,):
        if one in file:
            return one
    raise InputError(f"task.{key}: there is no array {name or key!r} in the .npz; {nearest(name or key, file)}")


def _inputs(x: Stored, what: str, at: str) -> Stored:
    if x.dtype.kind not in "biuf":
        raise InputError(f"{at}{what} holds {x.dtype}; expected numbers")
    if not x.ndim or not len(x):
        raise InputError(f"{at}{what} has shape {x.shape}; expected at least one row")
    if x.dtype.kind in "bf" and isinstance(x, np.ndarray):  # those in a file are looked at when steps are fitted
        _require_finite(x, what, at)
    elif x.dtype.kind in "iu" and not (x.dtype == np.uint8 and x.ndim in (3, 4)):
        low, high = _ends(x)
        if low <= high and not -(2**31) <= low <= high < 2**31:
            raise InputError(f"{at}{what} holds {low} to {high}; expected int32, or real numbers")
    return dataclasses.replace(x, change=_rows) if isinstance(x, FileArray) else _rows(x)


def _rows(x: np.ndarray) -> np.ndarray:
    """Raw inputs of rows as they are stored."""
    if x.dtype.kind in "bf":
        x = x.astype(np.float64)
        return x[:, None] if x.ndim == 1 else x
    if x.dtype == np.uint8 and x.ndim in (3, 4):
        return (x[..., None] if x.ndim == 3 else x).astype(np.float32)
    return x.astype(np.int32)


def _blocks(x: Stored) -> Iterable[np.ndarray]:
    return x.blocks() if isinstance(x, FileArray) else [x]


def _ends(x: Stored) -> tuple[int, int]:
    """The least and the greatest of whole numbers; of none 0 and -1."""
    ends = [(int(block.min()), int(block.max())) for block in _blocks(x) if block.size]
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else (0, -1)


def _require_finite(x: Stored, what: str, at: str, no_nan: str = "") -> None:
    """No value is infinite, nor missing where nothing can fill it in."""
    before = 0
    for block in _blocks(x):
        wrong = ~np.isfinite(block) if no_nan else np.isinf(block)
        if wrong.any():
            row = before + int(np.argwhere(wrong)[0][0])
            expected = (
                f"finite numbers, because no step applies {no_nan}" if no_nan else "finite numbers, or NaN if missing"
            )
            raise InputError(
                f"{at}row {row} of {what} holds {block[wrong][0]}; expected {expected} (rows count from 0)"
            )
        before += len(block)


def _steps(inputs: Stored) -> dict[str, Step] | None:
    if inputs.dtype == np.int32:
        return None
    gaps = isinstance(inputs, np.ndarray) and np.isnan(inputs).any()  # those in a file are found when steps are fitted
    steps: dict[str, Step] = {"impute": Impute(use="impute", by="median")} if gaps else {}
    return steps | {"standardize": Standardize(use="standardize", per="all" if inputs.ndim == 4 else "feature")}


def _targets(x: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "S":
        x = np.char.decode(x, "utf-8", "replace")
    if x.dtype.kind not in "biufU":
        raise InputError(f"task.targets: the array holds {x.dtype}; expected numbers, booleans or strings")
    if x.dtype.kind == "f":
        _require_finite(x, "the targets", "task.targets: ", "to targets")
        return x.astype(np.float64)
    return x[:, 0] if x.ndim == 2 and x.shape[1] == 1 else x


def _role(role: str, x: np.ndarray) -> np.ndarray:
    at = f"task.{role}: "
    if x.ndim != 1:
        raise InputError(f"{at}the array has shape {x.shape}; expected one value per example")
    if x.dtype.kind == "S":
        x = np.char.decode(x, "utf-8", "replace")
    if role == "order" and x.dtype.kind == "M" and not np.isnat(x).any():
        x = x.astype("datetime64[us]").astype(np.int64) / 1e6
    kinds = {"weights": "biuf", "order": "biuf", "groups": "biufU", "split": "U"}[role]
    if x.dtype.kind not in kinds:
        raise InputError(f"{at}the array holds {x.dtype}; expected {'strings' if kinds == 'U' else 'numbers'}")
    if x.dtype.kind == "f":
        _require_finite(x, f"task.{role}", at, f"to {role}")
    if role == "weights" and (x < 0).any():
        raise InputError(f"{at}row {np.argmax(x < 0)} is {x[x < 0][0]:g}; expected at least 0 (rows count from 0)")
    if role == "split" and not np.isin(x, SPLITS).all():
        wrong = str(x[~np.isin(x, SPLITS)][0])
        raise InputError(f"{at}got {wrong!r}; {nearest(wrong, SPLITS)}")
    return x.astype(np.float64) if role in ("weights", "order") else x


def _read(path: Path, trained: Mapping[str, Stored], several: bool, ids: int | None) -> Any:
    """Other inputs, of the same types and shapes as those of training."""
    at, file = f"{path}: ", loaded(path, "")
    if isinstance(file, np.ndarray):
        if len(trained) > 1:
            raise InputError(f"{at}holds one array; expected an .npz with {', '.join(trained)}")
        file = dict.fromkeys(trained, file)
    found = {}
    for name, known in trained.items():
        if name not in file:
            raise InputError(f"{at}there is no array {name!r}; {nearest(name, file)}")
        x = file[name]
        if known.dtype.kind == "f" and x.dtype.kind in "iu":
            x = x.astype(known.dtype)
        if known.ndim == 4 and known.shape[3] == 1 and x.ndim == 3:
            x = x[..., None]
        x: Any = _inputs(x, f"{name!r}", at)
        if x.shape[1:] != known.shape[1:] or x.dtype.kind != known.dtype.kind:
            expected = f"{known.dtype}{['rows', *known.shape[1:]]}, as in training".replace("'", "")
            raise InputError(f"{at}{name!r} is {x.dtype}{list(x.shape)}; expected {expected}")
        if ids is not None and not 0 <= x.min() <= x.max() < ids:
            raise InputError(f"{at}{name!r} holds {x.min()} to {x.max()}; expected ids from 0 to {ids - 1}")
        found[name] = x.astype(known.dtype)
    return found if several else next(iter(found.values()))
