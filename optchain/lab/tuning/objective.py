"""What a study makes as good as it can."""

from typing import Any, NamedTuple

from optchain.lab.data.task import Task
from optchain.lab.training.evaluate import evaluated
from optchain.lab.tuning.tables import Search


class Objective(NamedTuple):
    """A score on the validation examples."""

    name: str  # the loss, or the task's metric
    sign: int  # -1 where higher is better: Optuna is told what is to be minimized

    def of_row(self, row: dict[str, Any]) -> float:
        """What an evaluation's row says, to be minimized."""
        return self.sign * evaluated(row, self.name)

    def of_scores(self, scores: dict[str, float]) -> float:
        """What the scores of a run say, to be minimized."""
        return self.sign * scores[self.name]


def objective(search: Search, task: Task) -> Objective:
    """The objective of a study."""
    return Objective("loss", 1) if search.objective == "loss" else Objective(task.metric_name, task.metric_sign)
