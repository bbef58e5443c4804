"""What a study makes as good as it can."""

from typing import Any, NamedTuple

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Task
from optchain.lab.training.evaluate import evaluated
from optchain.lab.tuning.tables import Aim, Search


class Objective(NamedTuple):
    """A score on the validation examples."""

    name: str  # the loss, or a metric
    sign: int  # -1 where higher is better: Optuna is told what is to be minimized
    others: tuple["Objective", ...] = ()  # where there are several; this is the first one

    @property
    def all(self) -> tuple["Objective", ...]:
        """All objectives of the study."""
        return self, *self.others

    def of_row(self, row: dict[str, Any]) -> float:
        """What an evaluation's row says, to be minimized."""
        return self.sign * evaluated(row, self.name)

    def of_scores(self, scores: dict[str, float]) -> float:
        """What the scores of a run say, to be minimized."""
        return self.sign * scores[self.name]


def objective(search: Search, task: Task) -> Objective:
    """The objective of a study, with the others where there are several.

    Raises:
        InputError: there is no such metric, or it is not said whether a higher one is better.
    """
    first, *others = [_objective(aim, task) for aim in search.aims]
    for name in (first.name, *(other.name for other in others)):
        if search.side_by_side and name != "loss" and task.metrics[name].evaluator is not None:
            cure = "expected search.parallel = 'processes' or 'none'"
            raise InputError(f"search.objective: {name} gets the model, one run at a time; {cure}")
    return first._replace(others=tuple(others))


def _objective(aim: Aim, task: Task) -> Objective:
    if aim.name == "loss":
        return Objective("loss", 1)
    name = task.shown if aim.name == "metric" and "metric" not in task.metrics else aim.name
    if name is None or name not in task.metrics:
        raise InputError(f"search.objective: got {aim.name!r}; {nearest(str(name), ['loss', *task.metrics])}")
    sign = {"minimize": 1, "maximize": -1, None: task.metrics[name].sign}[aim.direction]
    if sign is None:
        cure = f"expected metrics.{name}.better, or search.direction = 'minimize' or 'maximize'"
        raise InputError(f"search.objective: it is not said whether a higher {name} is better; {cure}")
    return Objective(name, sign)
