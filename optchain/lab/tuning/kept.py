"""The checkpoints that a study keeps: those of its best trials; what was saved of others to continue them is removed
once they have ended."""

import shutil

from optchain.lab.tuning.objective import Objective
from optchain.lab.tuning.trials import Trial, ranked


class Kept:
    """The disk that the trials of a study use.

    Args:
        count: how many trials keep the checkpoints of their end.
        objective: by which they are the best.
    """

    def __init__(self, count: int, objective: Objective) -> None:
        self.count, self.objective = count, objective
        self.removed: set[int] = set()  # trials of which nothing is left

    def remove_others(self, trials: list[Trial]) -> None:
        """Remove the checkpoints of all trials that have ended and are not among the best of all so far.

        What is not among them now never is again. So it does not matter which process removes it, or how often.
        """
        best = {trial.number for trial in ranked(trials, self.objective)[: self.count]}
        for trial in trials:
            if trial.ended and trial.number not in best | self.removed:
                for checkpoints in trial.folder.glob("*/checkpoints"):
                    shutil.rmtree(checkpoints, ignore_errors=True)
                self.removed.add(trial.number)
