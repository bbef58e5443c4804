"""The tables of a study: what is searched, how, and for how long."""

import math
from typing import Annotated, Any, Literal

import pydantic
from pydantic import BeforeValidator, Field, FiniteFloat, NonNegativeInt, PositiveFloat, PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.runs.config import Config, with_values
from optchain.lab.settings.load import explained
from optchain.lab.settings.table import Place, Table
from optchain.lab.settings.train import Train
from optchain.lab.tuning.conditions import require_conditions, require_own
from optchain.lab.tuning.dimensions import AnyDimension
from optchain.lab.tuning.normal import Normal
from optchain.lab.tuning.numbers import Float, Log
from optchain.lab.tuning.points import require_points
from optchain.lab.tuning.pruners import AnyPruner
from optchain.lab.tuning.samplers import AnySampler

ONE_RUN_A_PROCESS = ("wandb", "trackio")  # trackers


class Population(Table):
    """How a population trains, arXiv:1711.09846."""

    every: PositiveInt | None = None  # steps between changes, a multiple of train.evaluate_every; that if left out
    share: Annotated[float, Field(gt=0, le=0.5)] = 0.25  # of the members: so many of the worst follow the best
    factors: Annotated[list[PositiveFloat], Field(min_length=1)] = [0.8, 1.25]  # by one of which a number changes
    resample: Annotated[float, Field(ge=0, le=1)] = 0.25  # how often a number is drawn anew instead


class Aim(Table):
    """One of several objectives."""

    name: str  # the loss, or that of a metric
    direction: Literal["minimize", "maximize"] | None = None  # that of the metric if left out


def _aims(value: Any) -> Any:
    return [{"name": x} if isinstance(x, str) else x for x in value] if isinstance(value, list) else value


class Bound(Table):
    """What a trial must keep to."""

    at_least: FiniteFloat | None = None
    at_most: FiniteFloat | None = None

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> "Bound":
        if self.at_least is None and self.at_most is None:
            raise ValueError("expected at_least, at_most or both")
        return self

    def excess(self, value: float) -> float:
        """How far a value is off; 0 or less if it is within the bound."""
        below = -math.inf if self.at_least is None else self.at_least - value
        return max(below, -math.inf if self.at_most is None else value - self.at_most)


class Each(Table):
    """What a node of a cluster has free for each trial."""

    cpus: PositiveInt = 1
    gpus: NonNegativeInt = 0  # the trial computes on the CPU if 0


class Search(Table):
    """How a study goes about it. The budget is a number of trials, seconds by the clock, or both."""

    trials: PositiveInt | None = None  # a grid has its own number
    seconds: PositiveFloat | None = None  # by the clock, all sessions together; what runs then runs to its end
    sampler: AnySampler = "tpe"
    population: Population = Population()  # of that sampler, whose members are the trials
    seed: NonNegativeInt = 0  # of the sampler and, with its number, of every trial
    # The loss, a metric's name, or `metric`, the first one, on the validation examples; or a list of several.
    objective: Annotated[str | list[Aim], BeforeValidator(_aims)] = "loss"
    direction: Literal["minimize", "maximize"] | None = None  # that of the metric if left out
    pruner: AnyPruner = None
    seeds: PositiveInt = 1  # runs of a trial, whose mean counts
    folds: Annotated[int, Field(ge=2)] | None = None  # each trial runs once for each part that is held out
    fresh: NonNegativeInt = 5  # seeds with which the best trial is run again, for the report; their models are kept
    keep: NonNegativeInt = 0  # trials whose models are kept, the best so far; others keep scores and logs
    # What the best must keep to: by the loss or a metric, parameters, or steps_per_second.
    constraints: dict[str, Bound] = {}
    judge: Literal["last", "best"] = "last"  # the evaluation of a trial that counts
    enqueue: list[dict[str, Any]] = []  # points to be tried first, by dimension; what they leave out is drawn
    warm_start: list[Place] = []  # folders of earlier studies, whose trials the sampler sees; no part of the budget
    parallel: Literal["none", "processes", "devices", "vmap", "ray"] = "none"
    workers: PositiveInt | None = None  # processes, one for each core if left out; or trials at once on a cluster
    each: Each | None = None  # one CPU if left out
    # Runs side by side under vmap, as many as fit if left out; spread over the devices if a multiple of them.
    lanes: PositiveInt | None = None
    storage: str | None = (
        None  # the URL of a database, for workers on other machines; a journal in the folder if left out
    )
    patience: PositiveFloat = (
        60.0  # seconds after which a silent worker's trial is another's, in a database of a server
    )

    @property
    def runs(self) -> int:
        """Runs of a trial."""
        return self.seeds * (self.folds or 1)

    @property
    def aims(self) -> list[Aim]:
        """The objectives."""
        if isinstance(self.objective, str):
            return [Aim(name=self.objective, direction=self.direction)]
        return self.objective

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
        if self.sampler in ("grid", "population") and (self.warm_start or (self.enqueue and self.sampler == "grid")):
            key = "warm_start" if self.warm_start else "enqueue"
            raise ValueError(f"a {self.sampler} is not guided by other points; leave out search.{key}")
        if self.constraints and self.sampler == "population":
            raise ValueError("the members of a population train to their end; leave out search.constraints")
        if isinstance(self.objective, list):
            self._require_several()
        if self.trials is not None and len(self.enqueue) > self.trials:
            raise ValueError(f"search.enqueue has {len(self.enqueue)} points for search.trials = {self.trials}")
        if self.sampler == "population":
            unfit = [name for name in ("pruner", "folds", "seconds") if getattr(self, name) is not None]
            unfit += ["seeds"] * (self.seeds > 1) + ["keep"] * (self.keep > 0)
            unfit += ["parallel"] * (self.parallel != "none")
            if unfit:
                raise ValueError(f"a population trains side by side to its end; leave out search.{unfit[0]}")
        if self.storage and self.storage.startswith("sqlite") and self.parallel == "processes":
            cure = "leave search.storage out for a journal, or give the URL of a database server"
            raise ValueError(f"processes that write to one SQLite file lock each other out; {cure}")
        if self.storage and self.parallel == "ray":
            raise ValueError("tasks of Ray reach the journal in the study's folder; leave search.storage out")
        for name, modes in (("workers", ("processes", "ray")), ("lanes", ("vmap",)), ("each", ("ray",))):
            if getattr(self, name) is not None and self.parallel not in modes:
                expected = " or ".join(map(repr, modes))
                raise ValueError(f"search.{name} is for parallel = {expected}; got {self.parallel!r}")
        return self

    def _require_several(self) -> None:
        names = [aim.name for aim in self.aims]
        if len(set(names)) < max(2, len(names)):
            raise ValueError(f"search.objective = {names}; expected two or more that differ, or one name")
        if self.direction is not None:
            cure = "expected search.objective = [{ name = ..., direction = ... }, ...]"
            raise ValueError(f"search.direction is that of one objective; {cure}")
        if self.pruner is not None:
            raise ValueError("trials with several objectives run to their end; leave out search.pruner")
        if self.sampler in ("cma_es", "population"):
            cure = "expected 'nsga2', 'tpe', 'gp', 'random', 'quasi_random' or 'grid'"
            raise ValueError(f"search.sampler = {self.sampler!r} takes one objective; {cure}")


class Study(Config):
    """A configuration, and which of its values are searched for."""

    search: Search
    space: dict[str, AnyDimension]

    @pydantic.model_validator(mode="after")
    def _holds_together(self) -> "Study":
        earlier: dict[str, AnyDimension] = {}
        for name, dimension in self.space.items():
            require_conditions(name, dimension, earlier)
            require_own(name, self.key(name), self.space)
            earlier[name] = dimension
            if self.search.sampler == "grid" and dimension.spread is None:
                raise ValueError(f"space.{name!r}: a grid needs points, the number of values along it, or a step")
            if self.search.sampler == "population" and not isinstance(dimension, Float | Log | Normal):
                cure = "expected use = 'float', 'log', 'normal' or 'log_normal'"
                raise ValueError(f"space.{name!r}: a population changes numbers; {cure}")
        require_points(self.search.enqueue, self.space)
        if self.search.pruner is not None and not (self.train.is_in_steps or self.train.is_in_epochs):
            cure = "expected train.epochs with train.evaluate_every = 'epoch', or numbers of steps for both"
            raise ValueError(f"search.pruner: trials are compared at the same step or at the same epoch; {cure}")
        _require_one_length(self.train)
        shared = [name for name, table in self.trackers.items() if table.use in ONE_RUN_A_PROCESS]
        if shared and self.search.parallel == "devices":
            cure = "expected search.parallel = 'processes', or other trackers"
            raise ValueError(
                f"trackers.{shared[0]}: it follows one run per process, and there is one per device; {cure}"
            )
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
            config = Config.model_validate(with_values(table, placed | own))
            _require_one_length(config.train)
        except pydantic.ValidationError as error:
            raise InputError(explained(error)) from None
        except ValueError as error:
            raise InputError(str(error)) from None
        return config


def _require_one_length(train: Train) -> None:
    """The steps of a study are not those of its epochs, of which a trial may have others."""
    if train.steps is not None and train.epochs is not None:
        raise ValueError(f"got train.steps = {train.steps} and train.epochs = {train.epochs}; expected one of the two")
