"""What became of a study's trials."""

import dataclasses
import functools
import math
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from optchain.lab.base.intervals import scored
from optchain.lab.runs.logs import evaluations, read, write_table
from optchain.lab.training.progress import shown
from optchain.lab.training.seconds import in_words, none_yet
from optchain.lab.tuning.beginning import EARLIER, ENQUEUED
from optchain.lab.tuning.numbers import Label
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.space import Space, labels

SURPLUS = "surplus"  # the mark of a trial that was begun when the budget was used up already, by another process
RETRIES = "retries"  # the mark of a trial that was begun again, and how often: its worker had left it
EVALUATIONS = "evaluations"  # of its runs, where workers may not share the folder

FEW = 3  # changes of a schedule that are shown one by one


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial of a study."""

    number: int
    labels: dict[str, Label]
    state: str  # finished, pruned, diverged, infeasible, running, waiting, or earlier: of another study
    score: float  # the objective: a mean over its runs at their end; NaN unless it finished
    scores: dict[str, float]  # the loss and the metric, means over its runs
    steps: int  # of all its runs together
    seconds: dict[str, float]  # of all its runs together, by what they were spent on
    why: str  # it is infeasible, or where it comes from
    folder: Path  # with a folder for each of its runs
    schedule: dict[str, Any] | None  # of the member of a population: its values, by dimension
    broken: list[str] = dataclasses.field(default_factory=list)  # constraints that it does not keep to
    retries: int = 0  # how often it was begun again, or resumed, because its worker had left it
    told: list[list[dict[str, Any]]] = dataclasses.field(default_factory=list)  # evaluations of a worker elsewhere

    @property
    def ended(self) -> bool:
        """Whether nothing is left to be done for it."""
        return self.state not in ("running", "waiting", "earlier")

    @property
    def counts(self) -> bool:
        """Whether it may be the best: it finished, and keeps to all constraints."""
        return self.state == "finished" and not self.broken

    @functools.cached_property
    def evaluations(self) -> list[list[dict[str, Any]]]:
        """The rows of the evaluations of each of its runs."""
        return self.told or logged(self.folder)

    @property
    def words(self) -> dict[str, str]:
        """Its values by dimension, as short as they can be read; of the member of a population, those one after the
        other that it had in the course of its training."""
        return {name: _words((self.schedule or {}).get(name, label)) for name, label in self.labels.items()}

    def row(self) -> dict[str, Any]:
        """What the table of trials says of it."""
        return {
            "trial": self.number,
            "state": self.state,
            "score": self.score,
            **self.labels,
            **{f"validation_{name}": value for name, value in self.scores.items()},
            "steps": self.steps,
            **{f"{name}_seconds": value for name, value in self.seconds.items()},
            **({"retries": self.retries} if self.retries else {}),
            **({"broken": ", ".join(self.broken)} if self.broken else {}),
            "folder": str(self.folder),
            "why": self.why,
        }

    def __str__(self) -> str:
        point = "  ".join(f"{name}={words}" for name, words in self.words.items())
        ending = scored(self.score) if self.state == "finished" else f"{self.state} at step {self.steps}"
        ending += f"  breaks {', '.join(self.broken)}" if self.state == "finished" and self.broken else ""
        ending = self.why if self.state == "infeasible" else ending
        took = f"  {in_words(self.seconds)}" if self.seconds else ""
        return f"trial {self.number}  {point}  {ending}{took}"


def trials(study: optuna.Study, folder: Path, objective: Objective, space: Space) -> list[Trial]:
    """The trials of a study by number.

    Args:
        study: as Optuna keeps it.
        folder: of the study.
        objective: whose values Optuna was told.
        space: of the study.
    """
    results = [
        _trial(trial, folder, objective.sign, space)
        for trial in study.get_trials(deepcopy=False)
        if SURPLUS not in trial.user_attrs
    ]
    return sorted(results, key=lambda trial: trial.number)


def _trial(frozen: FrozenTrial, folder: Path, sign: float, space: Space) -> Trial:
    value = frozen.values[0] if frozen.state == TrialState.COMPLETE else math.nan
    states = {
        TrialState.COMPLETE: "diverged" if math.isinf(value) else "finished",
        TrialState.PRUNED: "pruned",
        TrialState.FAIL: "infeasible",
        TrialState.RUNNING: "running",
        TrialState.WAITING: "waiting",
    }
    told = frozen.user_attrs
    return Trial(
        number=frozen.number,
        labels=labels(frozen.params, space),
        state="earlier" if EARLIER in told else states[frozen.state],
        score=sign * value if math.isfinite(value) else math.nan,
        scores=told.get("scores", {}),
        steps=told.get("steps", 0),
        seconds=told.get("seconds", none_yet()),
        why=told.get("why") or told.get(EARLIER) or ("enqueued" if ENQUEUED in told else ""),
        folder=folder_of(folder, frozen.number),
        broken=[name for name, excess in frozen.constraints.items() if excess > 0],
        schedule=told.get("schedule"),
        retries=told.get(RETRIES, 0),
        told=told.get(EVALUATIONS, []),
    )


def _words(value: Any) -> str:
    if not isinstance(value, dict):
        return shown(value)
    first, *later = value["values"]
    pieces = [f"{shown(x)} (step {step})" for x, step in zip(later, value["boundaries"], strict=True)]
    if len(pieces) > FEW:
        pieces = [f"... {len(pieces) - 1} values ...", pieces[-1]]
    return " -> ".join([shown(first), *pieces])


def logged(folder: Path) -> list[list[dict[str, Any]]]:
    """The rows of the evaluations of each run in the folder of a trial, from their logs."""
    return [evaluations(read(log)) for log in sorted(folder.glob("*/metrics.jsonl"))]


def folder_of(folder: Path, number: int) -> Path:
    """Where a trial's runs are."""
    return folder / "trials" / f"{number:04d}"


def best(trials: list[Trial], objective: Objective) -> Trial | None:
    """The finished trial with the best score, of those that keep to all constraints; see `ranked`."""
    return next(iter(ranked(trials, objective)), None)


def ranked(trials: list[Trial], objective: Objective) -> list[Trial]:
    """The finished trials that keep to all constraints, the best first.

    Of equals it is the one with the better other scores, and then the earliest.
    """
    return sorted((trial for trial in trials if trial.counts), key=lambda trial: losses(trial, objective))


def losses(trial: Trial, objective: Objective) -> tuple[float, ...]:
    """The scores of a finished trial for all objectives, as they are to be minimized."""
    others = (other.sign * trial.scores.get(other.name, math.nan) for other in objective.others)
    return objective.sign * trial.score, *others


def front(trials: list[Trial], objective: Objective) -> list[Trial]:
    """The finished trials than which no other is better in one objective and at least as good in all (Pareto front),
    the best in the first objective first; none where there is one objective."""
    if not objective.others:
        return []
    keeping = [trial for trial in trials if trial.counts]
    finished = {trial.number: losses(trial, objective) for trial in keeping}

    def beaten(mine: tuple[float, ...]) -> bool:
        return any(one != mine and all(a <= b for a, b in zip(one, mine, strict=True)) for one in finished.values())

    kept = [trial for trial in keeping if not beaten(finished[trial.number])]
    return sorted(kept, key=lambda trial: finished[trial.number])


def write_trials(trials: list[Trial], path: Path, objective: Objective) -> None:
    """Write one line for each trial that has ended, here or in an earlier study, as CSV."""
    rows = [trial.row() for trial in trials if trial.ended or trial.state == "earlier"]
    if objective.others:
        best = {trial.number for trial in front(trials, objective)}
        rows = [row | {"front": "yes" if row["trial"] in best else ""} for row in rows]
    # Dimensions that only later trials have stand where the others do.
    names = dict.fromkeys(name for trial in trials for name in trial.labels)
    write_table([dict.fromkeys(("trial", "state", "score", *names), "") | row for row in rows], path)
