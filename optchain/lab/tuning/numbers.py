"""The tables of dimensions that are numbers in a range."""

import math
from collections.abc import Sequence
from typing import Annotated, Any, Generic, Literal, Self, TypeVar

import pydantic
from pydantic import Field, FiniteFloat, PositiveFloat, PositiveInt

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


class Numbers(Dimension):
    """Numbers between two ends. Optuna stores each by a number of its own, which is mostly the same."""

    points: Annotated[int, Field(ge=2)] | None = None

    @property
    def logarithmic(self) -> bool:
        """Whether what counts are ratios of its values."""
        return getattr(self, "log", False)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest value."""
        raise NotImplementedError

    @property
    def stored_ends(self) -> tuple[float, float]:
        """The ends of the numbers that Optuna stores."""
        return self.ends

    def stored(self, value: float) -> float:
        """The number by which Optuna stores a value."""
        return value

    def value(self, stored: float) -> float:
        """The value that a stored number stands for."""
        return stored

    def nearest(self, value: float) -> float:
        """The value of the dimension that is nearest to a number."""
        low, high = self.ends
        return min(max(value, low), high)

    def holds(self, value: float) -> bool:
        """Whether a number is one of its values, to rounding."""
        return math.isclose(self.nearest(value), value, rel_tol=1e-9, abs_tol=1e-12)

    def quantile(self, share: float) -> float:
        """The value with this share of all drawn values below it."""
        low, high = map(self._scale, self.stored_ends)
        return self.nearest(self.value(self._unscaled(low + share * (high - low))))

    def along(self) -> Sequence[float]:
        """The values of a grid."""
        points = self.spread or 2
        return list(dict.fromkeys(self.quantile(i / (points - 1)) for i in range(points)))

    def place(self, value: float) -> float:
        """Where a value lies between the ends, 0 to 1."""
        low, high = map(self._scale, self.ends)
        return (self._scale(value) - low) / (high - low) if high > low else 0.5

    @property
    def limits(self) -> tuple[bool, bool]:
        """Whether the user has set its lower and its upper end."""
        return True, True

    def _scale(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value

    def _unscaled(self, value: float) -> float:
        return math.exp(value) if self.logarithmic else value


Number = TypeVar("Number", bound=float)


class Interval(Numbers, Generic[Number]):
    """The numbers from `low` to `high`; with a `step` only `low`, `low + step`, and so on."""

    low: Number
    high: Number

    @property
    def spacing(self) -> float | None:
        """From one value to the next; None if all numbers are values."""
        return getattr(self, "step", None)

    @property
    def _origin(self) -> float:
        """A number from which all values are whole steps away."""
        return self.low

    @property
    def ends(self) -> tuple[float, float]:
        if self.spacing is None:
            return self.low, self.high
        first = math.ceil((self.low - self._origin) / self.spacing - 1e-9)
        last = math.floor((self.high - self._origin) / self.spacing + 1e-9)
        return self._at(first), self._at(last)

    @property
    def spread(self) -> int | None:
        if self.points is not None or self.spacing is None:
            return self.points
        low, high = self.ends
        return round((high - low) / self.spacing) + 1

    def value(self, stored: float) -> float:
        return stored if self.spacing is None else self.nearest(stored)

    def nearest(self, value: float) -> float:
        if self.spacing is not None:
            value = self._at(round((value - self._origin) / self.spacing))
        return super().nearest(value)

    def along(self) -> Sequence[float]:
        if self.points is not None or self.spacing is None:
            return super().along()
        first = round((self.ends[0] - self._origin) / self.spacing)
        return [self._at(first + i) for i in range(self.spread or 0)]

    def _at(self, steps: int) -> float:
        """The value so many steps from the origin; decimal numbers stay what they look like."""
        return float(f"{self._origin + steps * (self.spacing or 0):.15g}")

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        if self.logarithmic and self.low <= 0:
            raise ValueError(f"low = {self.low:g}; a logarithmic range is above 0")
        if self.spacing is not None and not self.ends[0] < self.ends[1]:
            raise ValueError(f"step = {self.spacing:g} leaves fewer than two values from {self.low:g} to {self.high:g}")
        return self


class Float(Interval[FiniteFloat]):
    """Numbers, all equally likely."""

    use: Literal["float"]
    step: PositiveFloat | None = None


class Log(Interval[FiniteFloat]):
    """Positive numbers whose logarithms are equally likely; with a `step` rounded to its multiples."""

    use: Literal["log"]
    step: PositiveFloat | None = None

    @property
    def logarithmic(self) -> bool:
        return True

    @property
    def _origin(self) -> float:
        return 0.0

    @property
    def stored_ends(self) -> tuple[float, float]:
        return self.low, self.high

    @pydantic.model_validator(mode="after")
    def _has_one_density(self) -> "Log":
        if self.step is not None and self.points is not None:
            raise ValueError("a logarithmic range has points or a step")
        return self


class Int(Interval[int]):
    """Whole numbers, both ends included; with a `step` only `low`, `low + step`, and so on."""

    use: Literal["int"]
    log: bool = False
    step: PositiveInt | None = None

    @property
    def spread(self) -> int | None:
        return super().spread if self.step is not None else self.points

    def nearest(self, value: float) -> int:
        return round(super().nearest(round(value)))

    def along(self) -> list[int]:
        return sorted({round(x) for x in super().along()})

    @property
    def ends(self) -> tuple[int, int]:
        low, high = super().ends
        return round(low), round(high)

    @pydantic.model_validator(mode="after")
    def _has_one_scale(self) -> "Int":
        if self.log and self.step is not None:
            raise ValueError("a logarithmic range of whole numbers has no step; expected log or step")
        return self
