"""The tables of dimensions: what is varied, and which values it may have."""

import itertools
from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, FiniteFloat

from optchain.core.paths import nearest
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Table

Label = str | int | float | bool  # how Optuna knows a choice


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
    values: list[Any] | dict[str, Any] = Field(min_length=1)

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
        return {value if isinstance(value, Label) else str(value): value for value in self.values}

    @property
    def spread(self) -> int:
        return len(self.values)


DIMENSIONS: dict[str, type[Table]] = {"float": Float, "log": Log, "int": Int, "choice": Choice}
AnyDimension = Annotated[Any, Kinds("dimension", DIMENSIONS)]


def require_conditions(name: str, dimension: AnyDimension, earlier: dict[str, AnyDimension]) -> None:
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


def require_own(name: str, key: str, space: dict[str, AnyDimension]) -> None:
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
