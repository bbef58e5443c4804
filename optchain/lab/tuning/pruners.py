"""The tables of pruners, which end trials early: built in, by name, or any of Optuna's, by place.

Their `steps` are epochs where the length and the evaluations of the trials are epochs.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, NonNegativeInt, PositiveInt

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Table


class Median(Table):
    """Ends a trial that is worse than the median of the finished ones at the same step.

    Trials that all run at once have none to be compared with: in lanes no more than half of the trials do, unless
    `search.lanes` says how many.
    """

    use: Literal["median"]
    trials: NonNegativeInt = 5  # that run to their end before any is ended
    steps: NonNegativeInt = 0  # before which no trial is ended


class Halving(Table):
    """Asynchronous successive halving, arXiv:1810.05934: of those that reach a rung, one in `factor` goes on."""

    use: Literal["halving"]
    steps: PositiveInt | None = None  # to the first rung; one evaluation if left out
    factor: Annotated[int, Field(ge=2)] = 3


class Hyperband(Table):
    """Successive halving with several first rungs, arXiv:1603.06560."""

    use: Literal["hyperband"]
    steps: PositiveInt | None = None  # to the first rung of the quickest bracket; one evaluation if left out
    factor: Annotated[int, Field(ge=2)] = 3


PRUNERS: dict[str, type[Table]] = {"median": Median, "halving": Halving, "hyperband": Hyperband}
AnyPruner = Annotated[
    Any,
    Kinds("pruner", PRUNERS, base=Table, otherwise=type(None)),
    BeforeValidator(lambda value: {"use": value} if isinstance(value, str) else value),
]
