"""Scales: each feature, or all features alike, shifted and multiplied."""

from typing import Literal

import numpy as np
from pydantic import model_validator
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from optchain.lab.data.preprocess.step import Fitted, Per, Step, columns


class Standardize(Step):
    """Subtracts the mean of the training rows and divides by their standard deviation.

    For images `per = "all"`: pixels at the border are almost always empty, and scaled each by its own deviation the few
    that are not would outweigh all others.
    """

    use: Literal["standardize"] = "standardize"
    per: Per = "feature"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        scaler = StandardScaler().fit(columns(inputs, self.per))
        return Fitted(lambda rows: np.asarray(scaler.transform(columns(rows, self.per))).reshape(rows.shape))


class MinMax(Step):
    """The least value of the training rows becomes `low` and the greatest `high`; other rows may lie beyond."""

    use: Literal["min_max"] = "min_max"
    per: Per = "feature"
    low: float = 0.0
    high: float = 1.0

    @model_validator(mode="after")
    def _is_a_range(self) -> "MinMax":
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} is not below high = {self.high:g}")
        return self

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        scaler = MinMaxScaler((self.low, self.high)).fit(columns(inputs, self.per))
        return Fitted(lambda rows: np.asarray(scaler.transform(columns(rows, self.per))).reshape(rows.shape))
