"""Scales: each feature, or all features alike, shifted and multiplied."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import model_validator
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from optchain.lab.data.preprocess.step import Fitted, Per, Step, columns, cut
from optchain.lab.data.standalone import steps


class Standardize(Step):
    """Subtracts the mean of the training rows and divides by their standard deviation.

    For images `per = "all"`: pixels at the border are almost always empty, and scaled each by its own deviation the few
    that are not would outweigh all others.
    """

    use: Literal["standardize"] = "standardize"
    per: Per = "feature"

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        return self.fit_in_blocks(cut(inputs))

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        scaler = StandardScaler()
        for rows in blocks:
            scaler.partial_fit(columns(rows, self.per))
        return Fitted(steps.Standardized(np.asarray(scaler.mean_), np.asarray(scaler.scale_)))


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
        return self.fit_in_blocks(cut(inputs))

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        scaler = MinMaxScaler((self.low, self.high))
        for rows in blocks:
            scaler.partial_fit(columns(rows, self.per))
        return Fitted(steps.Scaled(scaler.scale_, scaler.min_))
