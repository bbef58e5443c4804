"""The tables of a study: what is searched, how, and for how long."""

import itertools
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.runs.config import PLACED, Config, short, with_values
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.load import explained
from optchain.lab.settings.table import Table

Label = str | int | float | bool  # how Optuna knows a choice
Sampler = Literal["gp", "grid", "population", "quasi_random", "random", "tpe"]


class Dimension(Table):
    """What is varied. The values go to the configuration's key `path`, the name of the dimension if left out."""

    path: str | None = None
    when: dict[str, Any] = {}  # earlier dimensions and the value, or one of several, that each must have

    @property
    def spread(self) -> int | None:
        """How many values a grid has along it; None if that is not said."""
        return getattr(self, "points", None)

    @property
    def logarithmic(self) -> bool:
        """Whether what counts are ratios of its values."""
        return getattr(self, "log", False)


class Interval(Dimension):
    """The numbers from `low` to `high`."""

    low: FiniteFloat
    high: FiniteFloat

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> "Interval":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.logarithmic and self.low <= 0:
            raise ValueError(f"low = {self.low:g}; a logarithmic range is above 0")
        return self


class Float(Interval):
    """Numbers, all equally likely."""

    use: Literal["float"]
    points: Annotated[int, Field(ge=2)] | None = None


class Log(Interval):
    """Positive numbers whose logarithms are equally likely."""

    use: Literal["log"]
    points: Annotated[int, Field(ge=2)] | None = None

    @property
    def logarithmic(self) -> bool:
        return True


class Int(Interval):
    """Whole numbers, both ends included."""

    use: Literal["int"]
    low: int
    high: int
    log: bool = False
    points: Annotated[int, Field(ge=2)] | None = None


class Choice(Dimension):
    """One of several values of any kind, tables too, which may have names."""

    use: Literal["choice"]
    values: Annotated[(list[Any] | dict[str, Any], *PLACED, Field(min_length=1))]

    @pydantic.model_validator(mode="after")
    def _differ(self) -> "Choice":
        if len(self.labels) < len(self.values):
            raise ValueError(f"values = {self.values}; expected values that differ")
        return self

    @property
    def labels(self) -> dict[Label, Any]:
        """The values by their names: what Optuna stores."""
        if isinstance(self.values, dict):
            return self.values
        shown = short(self.values)
        return {name if isinstance(name, Label) else str(name): x for name, x in zip(shown, self.values, strict=True)}

    @property
    def spread(self) -> int:
        return len(self.values)


DIMENSIONS: dict[str, type[Table]] = {"float": Float, "log": Log, "int": Int, "choice": Choice}
AnyDimension = Annotated[Any, Kinds("dimension", DIMENSIONS)]


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
AnyPruner = Annotated[Any, Kinds("pruner", PRUNERS, otherwise=type(None))]


class Population(Table):
    """How a population trains, arXiv:1711.09846."""

    every: PositiveInt | None = None  # steps between changes, a multiple of train.evaluate_every; that if left out
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.25  # of the members: so many of the worst follow the best
    factors: Annotated[list[PositiveFloat], Field(min_length=1)] = [0.8, 1.25]  # by one of which a number changes
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25  # how often a number is drawn anew instead


class Search(Table):
    """How a study goes about it. The budget is a number of trials, seconds by the clock, or both."""

    trials: PositiveInt | None = None  # a grid has its own number
    seconds: PositiveFloat | None = None  # by the clock, all sessions together; what runs then runs to its end
    sampler: Sampler = "tpe"
    population: Population = Population()  # of that sampler, whose members are the trials
    seed: NonNegativeInt = 0  # of the sampler and, with its number, of every trial
    objective: str = "loss"  # or the name of a metric, or `metric`, the first one; on the validation examples
    direction: Literal["minimize", "maximize"] | None = None  # that of the metric if left out
    pruner: AnyPruner = None
    seeds: PositiveInt = 1  # runs of a trial, whose mean counts
    folds: Annotated[int, Field(ge=2)] | None = None  # each trial runs once for each part that is held out
    fresh: NonNegativeInt = 5  # seeds with which the best trial is run anew, for the report
    parallel: Literal["none", "processes", "vmap"] = "none"
    workers: PositiveInt | None = None  # processes; one for each core if left out
    lanes: PositiveInt | None = None  # runs side by side under vmap; as many as fit into memory if left out
    storage: str | None = None  # the URL of a database, for machines that share the folder; a journal in it if left out

    @property
    def runs(self) -> int:
        """Runs of a trial."""
        return self.seeds * (self.folds or 1)

    @property
    def parts(self) -> list[dict[str, int]]:
        """What the task is told in each run of a seed: which part of the examples is held out."""
        return [{"folds": self.folds, "fold": i} for i in range(self.folds)] if self.folds else [{}]

    @property
    def side_by_side(self) -> bool:
        """Whether runs share a compiled call."""
        return self.parallel == "vmap" or self.sampler == "population"

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Search":
        if self.sampler == "grid" and self.trials is not None:
            raise ValueError("a grid has its own number of trials; leave out search.trials")
        if self.sampler != "grid" and self.trials is None and self.seconds is None:
            raise ValueError("expected a budget: search.trials, search.seconds or both")
        if self.sampler == "population":
            unfit = [name for name in ("pruner", "folds", "seconds") if getattr(self, name) is not None]
            unfit += ["seeds"] * (self.seeds > 1) + ["parallel"] * (self.parallel != "none")
            if unfit:
                raise ValueError(f"a population trains side by side to its end; leave out search.{unfit[0]}")
        if self.storage and self.storage.startswith("sqlite") and self.parallel == "processes":
            cure = "leave search.storage out for a journal, or give the URL of a database server"
            raise ValueError(f"processes that write to one SQLite file lock each other out; {cure}")
        for name, mode in (("workers", "processes"), ("lanes", "vmap")):
            if getattr(self, name) is not None and self.parallel != mode:
                raise ValueError(f"search.{name} is for parallel = {mode!r}; got {self.parallel!r}")
        return self


class Study(Config):
    """A configuration, and which of its values are searched for."""

    search: Search
    space: dict[str, AnyDimension]

    @pydantic.model_validator(mode="after")
    def _holds_together(self) -> "Study":
        earlier: dict[str, AnyDimension] = {}
        for name, dimension in self.space.items():
            _require_conditions(name, dimension, earlier)
            _require_own(name, self.key(name), self.space)
            earlier[name] = dimension
            if self.search.sampler == "grid" and dimension.spread is None:
                raise ValueError(f"space.{name!r}: a grid needs points, the number of values along it")
            if self.search.sampler == "population" and not isinstance(dimension, Float | Log):
                raise ValueError(f"space.{name!r}: a population changes numbers; expected use = 'float' or 'log'")
        if not self.train.is_in_steps:
            raise ValueError("train.epochs: trials are compared by their steps; expected train.steps and no 'epoch'")
        every = self.search.population.every or self.train.evaluate_every
        if every % self.train.evaluate_every:
            raise ValueError(f"search.population.every = {every} is no multiple of {self.train.evaluate_every} steps")
        if not self.task.validation and not self.search.folds:
            raise ValueError("the validation examples judge the trials; expected a task.validation or search.folds")
        return self

    def key(self, name: str) -> str:
        """The dotted key of the configuration to which a dimension's values go."""
        return self.space[name].path or name

    def config(self, values: dict[str, Any], task: dict[str, Any] = {}, train: dict[str, Any] = {}) -> Config:  # noqa: B006
        """The configuration with values of some dimensions, by name; and with other keys of `task` and `train`.

        Raises:
            InputError: the values do not fit together.
        """
        placed = {self.key(name): value for name, value in values.items()}
        table = self.model_dump(include=set(Config.model_fields))
        own = {f"{name}.{key}": x for name, keys in (("task", task), ("train", train)) for key, x in keys.items()}
        try:
            return Config.model_validate(with_values(table, placed | own))
        except pydantic.ValidationError as error:
            raise InputError(explained(error)) from None


def _require_conditions(name: str, dimension: AnyDimension, earlier: dict[str, AnyDimension]) -> None:
    from optchain.core.paths import nearest

    for other, wanted in dimension.when.items():
        if other not in earlier:
            raise ValueError(
                f"space.{name!r}: when {other!r}, which does not come before it; {nearest(other, earlier)}"
            )
        if wanted == []:
            raise ValueError(f"space.{name!r}: when {other!r} is one of no values; expected one at least")
        labels = earlier[other].labels if isinstance(earlier[other], Choice) else None
        for label in wanted if isinstance(wanted, list) else [wanted]:
            if labels is not None and label not in labels:
                raise ValueError(
                    f"space.{name!r}: when {other!r} is {label!r}; {nearest(str(label), map(str, labels))}"
                )


def _require_own(name: str, key: str, space: dict[str, AnyDimension]) -> None:
    """A dimension varies what it may, and nothing that another varies in the same trial."""
    if key == "train.seed":
        raise ValueError(f"space.{name!r}: every trial has a seed of its own; search.seeds gives it several")
    if key.partition(".")[0] == "task":
        raise ValueError(f"space.{name!r}: trials that are judged by other examples cannot be compared")
    for other in itertools.takewhile(lambda other: other != name, space):
        theirs = space[other].path or other
        if f"{theirs}.".startswith(f"{key}.") and not _exclude(_conditions(name, space), _conditions(other, space)):
            cure = "expected one of the two" if theirs == key else "expected the table first"
            raise ValueError(f"space.{name!r}: {other!r} varies {theirs} in the same trials; {cure}")


def _conditions(name: str, space: dict[str, AnyDimension]) -> dict[str, list[Any]]:
    """The values that earlier dimensions must have for one to hold, those of its conditions' own conditions too."""
    conditions: dict[str, list[Any]] = {}
    for other, wanted in space[name].when.items():
        condition = {other: wanted if isinstance(wanted, list) else [wanted]}
        for key, values in (_conditions(other, space) | condition).items():
            conditions[key] = [x for x in values if x in conditions.get(key, values)]
    return conditions


def _exclude(a: dict[str, list[Any]], b: dict[str, list[Any]]) -> bool:
    """Whether two dimensions' conditions never hold together."""
    return any(not any(x in b[name] for x in wanted) for name, wanted in a.items() if name in b)
