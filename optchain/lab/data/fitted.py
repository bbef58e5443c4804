"""What steps have learned from rows in a file, kept beside it, so that the next command makes no pass over them."""

import contextlib
import dataclasses
import hashlib
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from optchain.lab.base.files import PART
from optchain.lab.data import preprocess
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.standalone.packing import packed, unpacked

VERSION = 1  # of how steps learn from rows, and of how that is kept
SAID = "said"  # the name of what is no array


@dataclasses.dataclass(frozen=True)
class Kept:
    """Where it is kept what steps have learned from some rows of a file."""

    rows: FileArray
    training: np.ndarray  # the numbers of these rows

    def fitted(self, steps: dict[str, Any], fit: Callable[[], preprocess.Pipeline]) -> preprocess.Pipeline:
        """What the steps have learned: as it was kept, or from a pass. Steps of the user's learn in every command."""
        if not all(type(step) in preprocess.KINDS for step in steps.values()):
            return fit()
        place = self._place(steps)
        with contextlib.suppress(OSError, ValueError, KeyError, zipfile.BadZipFile), np.load(place) as arrays:
            return preprocess.Pipeline(dict(unpacked(json.loads(str(arrays[SAID])), arrays)))
        pipeline, arrays = fit(), {}
        with contextlib.suppress(TypeError, OSError):  # of a step that cannot be packed, of a folder not to be written
            said = json.dumps(packed([*pipeline.steps.items()], arrays))
            _save(place, arrays | {SAID: np.array(said)})
        return pipeline

    def _place(self, steps: dict[str, Any]) -> Path:
        rows = self.rows
        told = [VERSION, rows.stamp, rows.offset, rows.stored, rows.kind.str]
        told += [[name, step.model_dump(mode="json")] for name, step in steps.items()]
        known = hashlib.sha256(json.dumps(told).encode())
        known.update(np.ascontiguousarray(self.training, np.int64).data)
        return rows.path.with_name(f"{rows.path.name}.{known.hexdigest()[:16]}.fitted.npz")


def _save(place: Path, arrays: dict[str, np.ndarray]) -> None:
    part = place.with_name(f"{place.name}.{os.getpid()}{PART}")
    try:
        with part.open("wb") as file:
            np.savez(file, **arrays)  # pyright: ignore[reportArgumentType]
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)
