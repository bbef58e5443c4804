"""From raw rows to what the network takes: by steps, as whole numbers, or as they are."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class BySteps:
    """One array of real numbers, which steps prepare one after the other."""

    shape: Sequence[int]  # of a row
    steps: dict[str, Callable[[np.ndarray], np.ndarray]]

    def __call__(self, raw: Any) -> np.ndarray:
        rows = _rows(np.asarray(raw, np.float64), self.shape)
        for name, step in self.steps.items():
            try:
                rows = step(rows)
            except ValueError as error:
                raise ValueError(f"preprocess.{name}: {error}") from error
        lacking = np.argwhere(~np.isfinite(rows.reshape(len(rows), -1)))
        if len(lacking):
            row, feature = map(int, lacking[0])
            raise ValueError(f"feature {feature + 1} of row {row} (from 0) is missing or not finite")
        return rows.astype(np.float32)


@dataclasses.dataclass(frozen=True)
class WholeNumbers:
    """One array of ids or bytes."""

    shape: Sequence[int]  # of a row
    most: int  # the greatest of them

    def __call__(self, raw: Any) -> np.ndarray:
        rows = _rows(np.asarray(raw), self.shape)
        wrong = rows[(rows != np.round(rows)) | (rows < 0) | (rows > self.most)]
        if wrong.size:
            raise ValueError(f"got {wrong[0]:g}; expected whole numbers from 0 to {self.most}")
        return rows.astype(np.int32)


@dataclasses.dataclass(frozen=True)
class Unprepared:
    """Arrays that no step applies to, in the types of training."""

    kinds: Any  # the name of the type of each array, as a tree of dictionaries and lists

    def __call__(self, raw: Any) -> Any:
        return _typed(raw, self.kinds, "inputs")


def _typed(raw: Any, kinds: Any, at: str) -> Any:
    if isinstance(kinds, str):
        return np.asarray(raw).astype(kinds)
    if isinstance(kinds, dict):
        if not isinstance(raw, dict) or sorted(raw) != sorted(kinds):
            got = ", ".join(raw) if isinstance(raw, dict) else type(raw).__name__
            raise ValueError(f"{at}: got {got}; expected a dict with {', '.join(kinds)}")
        return {name: _typed(raw[name], kind, f"{at}[{name!r}]") for name, kind in kinds.items()}
    if not isinstance(raw, list | tuple) or len(raw) != len(kinds):
        raise ValueError(f"{at}: got {type(raw).__name__}; expected {len(kinds)} arrays in a tuple")
    return tuple(_typed(x, kind, f"{at}[{i}]") for i, (x, kind) in enumerate(zip(raw, kinds, strict=True)))


def _rows(rows: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """Rows of a shape, which may be given as vectors."""
    if rows.shape[1:] not in (tuple(shape), (math.prod(shape),)):
        raise ValueError(f"got inputs of shape {list(rows.shape)}; expected [{', '.join(map(str, ['rows', *shape]))}]")
    return rows.reshape(-1, *shape)
