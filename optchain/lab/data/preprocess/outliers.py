"""Outliers: training rows that hold one left out, or the values clipped."""

from typing import Literal

import numpy as np
from pydantic import PositiveFloat

from optchain.lab.data.preprocess.step import Fitted, Step, flat, require_complete
from optchain.lab.data.standalone import steps


class Bounded(Step):
    """A step that takes values beyond bounds for outliers, feature by feature.

    With `z_score` the bounds are `limit` standard deviations from the mean; with `iqr` they are `limit` interquartile
    ranges below the first and above the third quartile, for which 1.5 is usual.
    """

    by: Literal["iqr", "z_score"]
    limit: PositiveFloat

    def bounds(self, inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest value of each feature that is none."""
        require_complete(inputs)
        features = flat(inputs)
        if self.by == "z_score":
            center, reach = features.mean(axis=0), self.limit * features.std(axis=0)
            return center - reach, center + reach
        first, third = np.quantile(features, [0.25, 0.75], axis=0)
        return first - self.limit * (third - first), third + self.limit * (third - first)


class DropOutliers(Bounded):
    """Training rows with a value beyond the bounds are left out; all other rows stay as they are."""

    use: Literal["drop_outliers"] = "drop_outliers"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        low, high = self.bounds(inputs)
        within = (flat(inputs) >= low) & (flat(inputs) <= high)
        return Fitted(steps.Unchanged(), np.all(within, axis=1))


class ClipOutliers(Bounded):
    """Values beyond the bounds, in any row, become the bound."""

    use: Literal["clip_outliers"] = "clip_outliers"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        low, high = self.bounds(inputs)
        return Fitted(steps.Clipped(low, high))
