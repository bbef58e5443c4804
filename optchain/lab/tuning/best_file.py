"""The file of a study's best configuration."""

import os
from typing import TYPE_CHECKING

import tomli_w

from optchain.lab.base.files import write_whole
from optchain.lab.base.intervals import interval, scored
from optchain.lab.runs.config import Config
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import scores_of
from optchain.lab.tuning.trials import Trial

if TYPE_CHECKING:
    from optchain.lab.tuning.tune import Tuning


def write_best(tuning: "Tuning", winner: Trial, resolved: Config, fresh: list[Run]) -> None:
    """Write `best.toml`: the configuration of the best trial, for `train`, with what it scored.

    Args:
        tuning: the study.
        winner: its best trial.
        resolved: the configuration of this trial.
        fresh: the ended runs of this configuration with fresh seeds.
    """
    path, name = tuning.folder / "best.toml", tuning.objective.name
    seconds = winner.seconds["training"] / tuning.study.search.runs
    lines = [
        f"# optchain train {path}",
        f"# {seconds:.1f} s of training on {os.cpu_count()} cores, after the compilation",
        f"# validation {name.replace('_', ' ')} {scored(winner.score)}: trial {winner.number}, "
        f"the best of {len([t for t in tuning.trials() if t.ended])}",
    ]
    scores = [scores_of(run.result or {"scores": {}}, "validation") for run in fresh]
    finished = [table[name] for table in scores if table]  # none where folds are held out instead
    if finished:
        diverged = sum(run.ending == "diverged" for run in fresh)
        lost = f"; {diverged} more diverged" if diverged else ""
        lines.append(f"# with other seeds {interval(finished)}, the mean of {len(finished)} runs{lost}")
    write_whole(path, "\n".join(lines) + "\n\n" + tomli_w.dumps(resolved.written(path.parent, exclude_none=True)))


def write_front(tuning: "Tuning", trials: list[Trial]) -> None:
    """Write the configurations of all trials on the front, for `train`, into the folder `front`."""
    folder = tuning.folder / "front"
    if trials:
        folder.mkdir(exist_ok=True)
        for old in folder.glob("*.toml"):  # beaten by later trials
            old.unlink()
    for trial in trials:
        scores = ", ".join(f"{o.name.replace('_', ' ')} {scored(trial.scores[o.name])}" for o in tuning.objective.all)
        path = folder / f"trial={trial.number:04d}.toml"
        lines = [f"# optchain train {path}", f"# validation {scores}: trial {trial.number}, on the front"]
        table = tuning.resolved(trial).written(path.parent, exclude_none=True)
        write_whole(path, "\n".join(lines) + "\n\n" + tomli_w.dumps(table))
