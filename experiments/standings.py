"""Where the optimizers of a comparison stand: statistics of their trials."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from experiments.compare import Trial
from experiments.intervals import Interval, interval
from experiments.tables import Contender


@dataclasses.dataclass(frozen=True)
class Standing:
    """The trials of one optimizer and what they amount to."""

    name: str
    contender: Contender
    tuned: list[Trial]
    fresh: list[Trial]  # at the best point; empty where every point diverged

    @property
    def finished(self) -> list[Trial]:
        """The fresh trials that did not diverge."""
        return [trial for trial in self.fresh if not trial.diverged]

    @property
    def edges(self) -> list[str]:
        """The numbers whose best value is the least or the largest of those tried: the best may lie outside."""
        if not self.fresh:
            return []
        ends = {key: (min(values), max(values)) for key, values in self.contender.grid.items() if len(values) > 1}
        sides = {key: self.fresh[0].point[key] for key in ends}
        return [
            f"{key} = {x:g} is the {'least' if x == ends[key][0] else 'largest'} value tried"
            for key, x in sides.items()
            if x in ends[key]
        ]

    def loss(self, split: str) -> Interval:
        """The mean loss of the finished fresh trials."""
        return self.score(split, "loss")

    def score(self, split: str, name: str) -> Interval:
        """The mean of the loss or of the task's metric over the finished fresh trials."""
        return interval([trial.score(split, name) for trial in self.finished])

    def behind(self, other: "Standing", split: str) -> Interval:
        """By how much this one's loss is higher than the other's, on the seeds that both finished."""
        others = {trial.seed: trial for trial in other.finished}
        pairs = [(trial, others[trial.seed]) for trial in self.finished if trial.seed in others]
        return interval([mine.score(split) - theirs.score(split) for mine, theirs in pairs])

    @property
    def milliseconds(self) -> float:
        """The median time of a step in fresh trials."""
        results = [trial.result for trial in self.finished]
        return statistics.median(1e3 * x["seconds"]["training"] / x["step"] for x in results) if results else math.nan

    @property
    def compiling(self) -> float:
        """The seconds of compiling, once for all trials."""
        return sum(trial.result["seconds"]["compiling"] for trial in [*self.tuned, *self.fresh])


def standings(trials: Sequence[Trial], contenders: dict[str, Contender]) -> list[Standing]:
    """The optimizers by the mean validation loss of their fresh trials, those without any last."""
    found = [
        Standing(
            name,
            contender,
            [trial for trial in trials if trial.optimizer == name and trial.tuning],
            [trial for trial in trials if trial.optimizer == name and not trial.tuning],
        )
        for name, contender in contenders.items()
    ]
    return sorted(found, key=lambda one: (math.isnan(one.loss("validation").mean), one.loss("validation").mean))
