"""Trials saved by where a study begins: blindly, with what is advised, or with the best points of other tasks."""

import math
import statistics
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.benchmarks import record
from optchain import lab

TASKS: dict[str, dict[str, Any]] = {
    "circles": {"use": "experiments/tasks/circles.py:circles"},
    "digits": {"use": "experiments/tasks/digits.py:digits"},
    "cancer": {"use": "experiments/tasks/tabular.py:Tabular", "data": "breast_cancer"},
    "wine": {"use": "experiments/tasks/tabular.py:Tabular", "data": "wine"},
}
# As wide as somebody who knows nothing of the task would search.
SPACE: dict[str, Any] = {
    "optimizer.lr.learning_rate.peak": {"use": "log", "low": 1e-5, "high": 1.0},
    "optimizer.decay.weight_decay": {"use": "log", "low": 1e-4, "high": 10.0},
    "optimizer.clip.max_norm": {"use": "log", "low": 1e-2, "high": 1e2},
}
WAYS = ("blind", "advised", "earlier")
# The target is what a blind study ends with in the middle, or near it: losses that differ by less do so by chance.
NEAR, AT_LEAST = 0.05, 0.01  # of it, and nats


def run(tasks: Sequence[str], seeds: int, trials: int, steps: int, out: Path) -> Path:
    """Search, compare, print and record; the path of the record.

    Args:
        tasks: names of `TASKS`; all of them if empty.
        seeds: studies of each task and way.
        trials: of each study.
        steps: of each trial.
        out: file to append the rows to.
    """
    names = list(tasks or TASKS)
    advised = {name: suggested(TASKS[name], steps) for name in names}
    scores: dict[tuple[str, str], list[list[float]]] = {}
    best: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            studies = list(searched(advised[name], [], seeds, trials, Path(folder) / name / "blind"))
            scores[name, "blind"] = [best_so_far(study) for study in studies]
            best[name] = min(studies, key=lambda study: study.score).best
        for name in names:
            own = {key: _number(advised[name].tables, key) for key in SPACE}
            others = [best[other] for other in names if other != name]
            for way, points in (("advised", [own]), ("earlier", others)):
                found = searched(advised[name], points, seeds, trials, Path(folder) / name / way)
                scores[name, way] = [best_so_far(study) for study in found]
    rows = list(_rows(names, scores, trials))
    said = f"within {NEAR:.0%} or {AT_LEAST:g} of what a blind study of {trials} trials ends with (mean of {seeds})"
    record.show(f"Trials until the loss is {said}", rows)
    record.append(out, rows)
    return out


def suggested(task: Mapping[str, Any], steps: int) -> Any:
    """What is advised for a task, of runs of so many steps."""
    lengths = ("steps", "evaluate_every", "checkpoint_every")
    said = {"task": {**task, "validation": 0.3, "test": 0.2}, "train": dict.fromkeys(lengths, steps)}
    return lab.suggest(said)


def searched(
    found: Any, points: Sequence[Mapping[str, float]], seeds: int, trials: int, folder: Path
) -> Iterator[lab.Study]:
    """Finished studies of a task, which differ in their seed.

    Args:
        found: what is advised for the task.
        points: that are tried first.
        seeds: how many studies.
        trials: of each.
        folder: for their folders.
    """
    inside = [{key: min(max(x, SPACE[key]["low"]), SPACE[key]["high"]) for key, x in point.items()} for point in points]
    tables = {name: dict(table) for name, table in found.tables.items()}
    tables["train"].pop("early_stopping", None)
    search = {"trials": trials, "sampler": "tpe", "fresh": 0, "enqueue": inside}
    first = lab.Configuration({**tables, "search": search, "space": SPACE}, folder=found.folder)
    for seed in range(seeds):
        yield first.changed({"search.seed": seed}).tune(folder / str(seed), quiet=True)


def best_so_far(study: lab.Study) -> list[float]:
    """The lowest score after each trial."""
    lowest, found = math.inf, []
    for trial in sorted(study.trials, key=lambda row: row["trial"]):
        lowest = min(lowest, trial["score"]) if math.isfinite(trial["score"]) else lowest
        found.append(lowest)
    return found


def until(curve: Sequence[float], target: float) -> int:
    """The first trial after which a study is as good as a target; one more than it has where none is."""
    return next((i for i, score in enumerate(curve, 1) if score <= target), len(curve) + 1)


def _rows(names: Sequence[str], scores: Mapping[tuple[str, str], Any], trials: int) -> Iterator[record.Row]:
    for name in names:
        middle = statistics.median(curve[-1] for curve in scores[name, "blind"])
        target = middle + max(NEAR * middle, AT_LEAST)
        blind = [until(curve, target) for curve in scores[name, "blind"]]
        for way in WAYS:
            needed = [until(curve, target) for curve in scores[name, way]]
            saved = lab.interval([float(b - n) for b, n in zip(blind, needed, strict=True)])
            yield {
                "task": name,
                "begins": way,
                "trials": statistics.mean(needed),
                "saved": "" if way == "blind" else str(saved),
                "never": sum(n > trials for n in needed),
                "first": statistics.median(curve[0] for curve in scores[name, way]),
                "best": statistics.median(curve[-1] for curve in scores[name, way]),
            }


def _number(tables: Mapping[str, Any], key: str) -> float:
    value: Any = tables
    for part in key.split("."):
        value = value[part]
    return float(value)
