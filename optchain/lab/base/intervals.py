"""Means of independent runs with their confidence intervals."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

from scipy.stats import t

CONFIDENCE = 0.95


def scored(x: float, like: float | None = None) -> str:
    """A score with four decimals; with three digits where these would show next to nothing of it, or of another; with
    six where it is large."""
    size = abs(x if like is None else like)
    digits = 3 if size < 1e-3 else 6
    return unsigned_zero(f"{x:.4f}" if 1e-3 <= size < 1e6 or size == 0 else f"{x:.{digits}g}")


def unsigned_zero(number: str) -> str:
    """The text of a number; that of zero without a minus sign, as of a loss that is -0.0."""
    return number if float(number) else number.lstrip("-")


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with the half width of its 95 % confidence interval, by Student's t; NaN where it takes more numbers."""

    mean: float
    half: float

    def __str__(self) -> str:
        if math.isnan(self.mean):
            return "-"
        return scored(self.mean) if math.isnan(self.half) else f"{scored(self.mean)} ± {scored(self.half, self.mean)}"

    @property
    def percent(self) -> str:
        """The same of a fraction, as a percentage."""
        if math.isnan(self.mean):
            return "-"
        half = "" if math.isnan(self.half) else f" ± {100 * self.half:.2f}"
        return f"{100 * self.mean:.2f}{half} %"


def interval(values: Sequence[float]) -> Interval:
    """The mean of independent numbers and its 95 % confidence interval, by Student's t.

    Args:
        values: such as the same score of several runs. With fewer than two, or one that is not finite, the mean has no
            interval.
    """
    if not values:
        return Interval(math.nan, math.nan)
    if len(values) == 1 or not all(map(math.isfinite, values)):  # such as a score that was not made, or is undefined
        return Interval(sum(values) / len(values), math.nan)
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Interval(statistics.mean(values), quantile * statistics.stdev(values) / math.sqrt(len(values)))
