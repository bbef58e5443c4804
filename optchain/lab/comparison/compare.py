"""A comparison of optimizers: a study for each, and its best point run anew with the same fresh seeds."""

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optchain.lab.base.errors import InputError
from optchain.lab.base.files import is_taken
from optchain.lab.comparison.tables import Comparison
from optchain.lab.runs import config
from optchain.lab.runs.logs import write_table
from optchain.lab.runs.run import Run
from optchain.lab.runs.writer import remove
from optchain.lab.training.experiment import build
from optchain.lab.tuning import report, working
from optchain.lab.tuning.outcome import Fresh, fresh, outcome
from optchain.lab.tuning.tune import Tuning

DEFAULT = "default"  # the name of the chain as it is written


def studies(comparison: Comparison, folder: Path, source: str, command: str) -> dict[str, Tuning]:
    """The study of each optimizer, in the folder of the comparison."""
    return {
        name: Tuning(comparison.study(name), folder / "studies" / name, f"{source}: optimizers.{name}", command)
        for name in comparison.optimizers
    }


def reopened(folder: Path) -> tuple[Comparison, dict[str, Tuning]]:
    """The comparison in a folder, and its studies."""
    path = folder / "comparison.json"
    comparison = config.load(path, table=Comparison)
    return comparison, studies(comparison, folder, str(path), Run(folder).about["command"])


def require_valid(comparison: Comparison, tunings: dict[str, Tuning]) -> None:
    """Every optimizer can be built wherever its space reaches.

    Raises:
        InputError: naming the optimizer and the value.
    """
    for name, tuning in tunings.items():
        tuning.require_valid()
        if comparison.optimizers[name].default:
            build(tuning.study.config({}), f"{tuning.source}.default")


def prepare(folder: Path, comparison: Comparison, tunings: dict[str, Tuning], command: str, overwrite: bool) -> None:
    """Make the folder of a comparison, or take the one in which it was begun.

    Raises:
        InputError: the folder holds something else, or a study of another configuration.
    """
    if is_taken(folder):
        if not (folder / "comparison.json").is_file():
            raise InputError(f"{folder} exists and is no comparison of ours; choose another --out")
        if overwrite:
            remove(folder)
    for tuning in tunings.values():
        tuning.prepare(overwrite=False)
    Run(folder).describe(command, comparison)
    Run(folder).write("comparison.json", comparison.written(folder))


def perform(comparison: Comparison, tunings: dict[str, Tuning]) -> Iterator[str]:
    """Run what has not been run yet, and give the name of every optimizer that is done.

    The test examples are scored by the runs with fresh seeds only.

    Raises:
        InputError: a folder with a run of another configuration.
        Interrupted: a signal came.
    """
    for name, kept in tunings.items():
        tuning = dataclasses.replace(kept)  # what it compiles and loads goes when the next one begins
        print(f"{name}:", file=sys.stderr, flush=True)
        tuning.invite()
        working.search(tuning)
        tuning.finish()
        if comparison.optimizers[name].default:
            tuning.fresh(tuning.study.config({}), DEFAULT)
        report.write(tuning)
        yield name


def rows(tunings: dict[str, Tuning]) -> list[dict[str, Any]]:
    """The table of all trials and of all runs with fresh seeds."""
    table = []
    for name, tuning in tunings.items():
        study = outcome(tuning)
        table += [{"optimizer": name, "purpose": "tuning"} | trial.row() for trial in study.ended]
        labels = {} if study.winner is None else study.winner.labels
        table += [{"optimizer": name, "purpose": "fresh"} | labels | _row(entry) for entry in study.fresh]
        table += [{"optimizer": name, "purpose": DEFAULT} | _row(entry) for entry in fresh(tuning, DEFAULT)]
    return table


def _row(entry: Fresh) -> dict[str, Any]:
    return {
        "seed": entry.seed,
        "state": entry.result["ending"],
        **{f"{split}_{key}": x for split in ("validation", "test") for key, x in entry.scores(split).items()},
        "steps": entry.result["step"],
        **{f"{key}_seconds": seconds for key, seconds in entry.result["seconds"].items()},
        "folder": str(entry.run.folder),
    }


def write_trials(tunings: dict[str, Tuning], path: Path) -> None:
    """Write one line for each trial and each run with a fresh seed as CSV."""
    write_table(rows(tunings), path)
