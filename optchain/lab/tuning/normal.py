"""The tables of dimensions that are numbers with a normal distribution."""

import statistics
from typing import Literal

import pydantic
from pydantic import FiniteFloat, PositiveFloat

from optchain.lab.tuning.numbers import Numbers

RARE = 1e-4  # the share of a normal distribution that is left out on a side without an end


class Normal(Numbers):
    """Numbers with a normal distribution, cut off at `low` and `high`.

    Without them, values as far from the mean as one in ten thousand are left out on that side. Log-normal numbers are
    positive ones whose natural logarithms have a normal distribution of this mean and deviation.
    """

    use: Literal["normal", "log_normal"]
    mean: FiniteFloat
    deviation: PositiveFloat
    low: FiniteFloat | None = None
    high: FiniteFloat | None = None

    @property
    def logarithmic(self) -> bool:
        return self.use == "log_normal"

    @property
    def ends(self) -> tuple[float, float]:
        return self.value(self.stored_ends[0]), self.value(self.stored_ends[1])

    @property
    def stored_ends(self) -> tuple[float, float]:
        return (
            RARE if self.low is None else self.stored(self.low),
            1 - RARE if self.high is None else self.stored(self.high),
        )

    @property
    def limits(self) -> tuple[bool, bool]:
        return self.low is not None, self.high is not None

    def stored(self, value: float) -> float:
        """Its quantile, which is equally likely everywhere."""
        return self._distribution.cdf(self._scale(value))

    def value(self, stored: float) -> float:
        for end in (self.low, self.high):
            if end is not None and stored == self.stored(end):
                return end
        return self._unscaled(self._distribution.inv_cdf(min(max(stored, 1e-15), 1 - 1e-15)))

    def quantile(self, share: float) -> float:
        low, high = self.stored_ends
        return self.value(low + share * (high - low))

    def along(self) -> list[float]:
        """The middles of equally likely parts: the ends are hardly ever drawn."""
        points = self.points or 2
        return [self.quantile((i + 0.5) / points) for i in range(points)]

    @property
    def _distribution(self) -> statistics.NormalDist:
        return statistics.NormalDist(self.mean, self.deviation)

    @pydantic.model_validator(mode="after")
    def _is_one(self) -> "Normal":
        for name, end in (("low", self.low), ("high", self.high)):
            if self.logarithmic and end is not None and end <= 0:
                raise ValueError(f"{name} = {end:g}; a log-normal number is above 0")
        low, high = self.stored_ends
        if not low < high or high - low < 1e-9:
            raise ValueError(f"low = {self.low}, high = {self.high} leave out all numbers that are likely to be drawn")
        return self
