"""Where the optimizers of a comparison stand: statistics of their studies and of their runs with fresh seeds."""

import dataclasses
import math
import statistics

from optchain.lab.base.intervals import Interval
from optchain.lab.comparison.compare import DEFAULT
from optchain.lab.comparison.paired import Paired, paired
from optchain.lab.training.seconds import total
from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.outcome import Fresh, Outcome, fresh, mean, outcome
from optchain.lab.tuning.tune import Tuning


@dataclasses.dataclass(frozen=True)
class Standing:
    """One optimizer's study and what it amounts to."""

    name: str
    tuning: Tuning
    outcome: Outcome
    default: list[Fresh]  # of the chain as it is written, where that was asked for

    @property
    def objective(self) -> Objective:
        """What was made as good as it can."""
        return self.tuning.objective

    @property
    def finished(self) -> list[Fresh]:
        """The runs with fresh seeds that did not diverge."""
        return [run for run in self.outcome.fresh if not run.diverged]

    @property
    def result(self) -> Interval:
        """The mean validation score of the fresh runs."""
        return self.score("validation", self.objective.name)

    @property
    def loss_like(self) -> float:
        """The mean of what is to be minimized."""
        return self.objective.sign * self.result.mean

    def score(self, split: str, name: str) -> Interval:
        """The mean of the loss or of the task's metric over the finished fresh runs."""
        return mean(self.outcome.fresh, split, name)

    def behind(self, other: "Standing") -> Paired:
        """By how much this one is worse than the other, on the seeds that both finished."""
        name, sign = self.objective.name, self.objective.sign
        theirs = {run.seed: run.score("validation", name) for run in other.finished}
        return paired([
            sign * (run.score("validation", name) - theirs[run.seed]) for run in self.finished if run.seed in theirs
        ])  # fmt: skip

    def reaching(self, target: float, column: str) -> float:
        """The median `step`, or the median `seconds` of training, at which a fresh run was first evaluated to be as
        good as a target. A run that never was, or diverged, counts as infinite."""
        goal = self.objective.sign * target
        firsts = [
            next((row[column] for row in run.evaluations if self.objective.of_row(row) <= goal), math.inf)
            for run in self.outcome.fresh
        ]
        return statistics.median(firsts) if firsts else math.nan

    @property
    def milliseconds(self) -> float:
        """The median time of a step in fresh runs."""
        results = [run.result for run in self.finished]
        return statistics.median(1e3 * x["seconds"]["training"] / x["step"] for x in results) if results else math.nan

    @property
    def steps(self) -> int:
        """Of all trials and fresh runs."""
        return sum(trial.steps for trial in self.outcome.ended) + sum(x.result["step"] for x in self._anew)

    @property
    def seconds(self) -> dict[str, float]:
        """Of all trials and fresh runs, by what they were spent on."""
        return total([self.outcome.seconds, *(run.result["seconds"] for run in self._anew)])

    @property
    def _anew(self) -> list[Fresh]:
        return [*self.outcome.fresh, *self.default]


def standings(tunings: dict[str, Tuning]) -> list[Standing]:
    """The optimizers by the mean validation score of their fresh runs, those without any last."""
    entries = [Standing(name, tuning, outcome(tuning), fresh(tuning, DEFAULT)) for name, tuning in tunings.items()]
    return sorted(entries, key=lambda standing: (math.isnan(standing.loss_like), standing.loss_like))


def target_of(ranked: list[Standing], asked: float | None) -> float:
    """The validation score whose time is told: the one that was asked for, else the worst of the means; NaN where there
    is none."""
    means = [standing.result.mean for standing in ranked if not math.isnan(standing.result.mean)]
    return asked if asked is not None else means[-1] if means else math.nan
