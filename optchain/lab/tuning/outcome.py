"""What a study has come to: its trials, the best of them, and what that one is worth on fresh seeds."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

from optchain.lab.base.intervals import Interval, interval
from optchain.lab.runs.logs import evaluations, read
from optchain.lab.runs.run import Run
from optchain.lab.training.evaluate import scores_of
from optchain.lab.training.seconds import total
from optchain.lab.tuning import space
from optchain.lab.tuning.trials import Trial, best
from optchain.lab.tuning.tune import Tuning


@dataclasses.dataclass(frozen=True)
class Fresh:
    """An ended run with a fresh seed."""

    seed: int
    run: Run

    @functools.cached_property
    def result(self) -> dict[str, Any]:
        """How it ended."""
        return self.run.result or {}

    @property
    def diverged(self) -> bool:
        """Whether the loss became infinite or no number."""
        return self.result["ending"] == "diverged"

    def scores(self, split: str) -> dict[str, float]:
        """The loss and the task's metric on a split, of the run's average where the chain keeps one."""
        return scores_of(self.result, split)

    def score(self, split: str, name: str) -> float:
        """One of them; NaN if it was not scored there, as after it diverged."""
        return self.scores(split).get(name, math.nan)

    @functools.cached_property
    def evaluations(self) -> list[dict[str, Any]]:
        """The rows of its evaluations."""
        return evaluations(read(self.run.folder / "metrics.jsonl"))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """A study so far."""

    trials: list[Trial]
    winner: Trial | None  # None as long as no trial has finished
    fresh: list[Fresh]  # of the winner
    edges: list[str]  # in words: the winner's values that are at the end of what was searched

    @property
    def ended(self) -> list[Trial]:
        """The trials that have ended."""
        return [trial for trial in self.trials if trial.ended]

    def count(self, state: str) -> int:
        """How many trials are in a state."""
        return sum(trial.state == state for trial in self.trials)

    @property
    def seconds(self) -> dict[str, float]:
        """Of all trials, by what they were spent on."""
        return total(trial.seconds for trial in self.ended)


def outcome(tuning: Tuning) -> Outcome:
    """What a study has come to so far."""
    trials = tuning.trials()
    winner = best(trials, tuning.objective)
    if winner is None:
        return Outcome(trials, None, [], [])
    edges = [
        f"{name} = {text}"
        for name, label in _ends(winner).items()
        if (text := space.edge(tuning.study.space[name], label)) is not None
    ]
    return Outcome(trials, winner, fresh(tuning, f"trial={winner.number}"), edges)


def _ends(winner: Trial) -> dict[str, Any]:
    """The values of the best trial, by dimension; the last one of a schedule, which is where the search has led."""
    schedules = {name: x["values"][-1] for name, x in (winner.schedule or {}).items() if isinstance(x, dict)}
    return winner.labels | schedules


def fresh(tuning: Tuning, name: str) -> list[Fresh]:
    """The ended runs of a configuration with fresh seeds, see `Tuning.fresh`."""
    runs = [Fresh(seed, tuning.fresh_run(name, seed)) for seed in tuning.fresh_seeds]
    return [entry for entry in runs if entry.run.result is not None]


def mean(runs: Sequence[Fresh], split: str, name: str) -> Interval:
    """The mean score of those that did not diverge."""
    return interval([entry.score(split, name) for entry in runs if not entry.diverged])
