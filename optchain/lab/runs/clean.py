"""Checkpoints that are needed no more: of the trials of a study, and what was set aside as damaged."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from optchain.lab.base.errors import InputError
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import sole_writer

TRIALS = "trials"  # the folder of a study with those that were judged
ASIDE = "damaged"  # checkpoints that could not be read


class Freed(NamedTuple):
    """A folder that is removed, and how much is in it."""

    folder: Path
    bytes: int


def spare(folder: Path, every: bool = False) -> Iterator[Freed]:
    """What can be removed below a folder, of runs that have ended: their scores, logs and reports stay.

    Args:
        folder: of a run, a study, or of several.
        every: also the checkpoints of runs that are no trials, which then neither answer nor go on.
    """
    for about in sorted(folder.rglob("run.json")):
        run = Run(about.parent)
        if not (run.folder / "config.json").is_file() or run.result is None:
            continue
        kept = not every and TRIALS not in run.folder.relative_to(folder.parent).parts
        for name in (ASIDE, *([] if kept else ["checkpoints"])):
            if (run.folder / name).is_dir():
                yield Freed(run.folder / name, _size(run.folder / name))


def remove(freed: Freed) -> str | None:
    """Remove a folder of an ended run; why not, if it was not."""
    try:
        with sole_writer(freed.folder.parent):
            shutil.rmtree(freed.folder)
    except InputError as error:
        return str(error)
    return None


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
