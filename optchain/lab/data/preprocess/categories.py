"""Categories: numbers that name one of several kinds, as columns of 0 and 1."""

from collections.abc import Iterator
from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step, cut
from optchain.lab.data.standalone import steps


class OneHot(Step):
    """Each of the named features becomes one column per category of the training rows: 1 for its own, otherwise 0.

    A category that no training row has, and a missing one, is 0 in all of these columns. They take the place of the
    feature, in the order of the categories' numbers; all other features stay as they are.
    """

    use: Literal["one_hot"] = "one_hot"
    features: list[NonNegativeInt] = Field(min_length=1)  # positions in a row, counted from 0

    @model_validator(mode="after")
    def _are_distinct(self) -> "OneHot":
        twice = [position for position in self.features if self.features.count(position) > 1]
        if twice:
            raise ValueError(f"features names {twice[0]} more than once")
        return self

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        return self.fit_in_blocks(cut(inputs))

    def fit_in_blocks(self, blocks: Iterator[np.ndarray]) -> Fitted:
        found: dict[int, np.ndarray] = {at: np.empty(0) for at in self.features}
        width = 0
        for rows in blocks:
            self._require_fit(rows)
            width = rows.shape[1]
            found = {at: np.union1d(kinds, rows[~np.isnan(rows[:, at]), at]) for at, kinds in found.items()}
        source, category = [], []
        for at in range(width):
            kinds = found.get(at, [np.nan])
            source += [at] * len(kinds)
            category += list(kinds)
        return Fitted(steps.OneHot(width, np.array(source, int), np.array(category, float)))

    def _require_fit(self, rows: np.ndarray) -> None:
        if rows.ndim != 2:
            raise InputError(f"one_hot is for rows of features; got inputs of shape {rows.shape[1:]} for each example")
        if max(self.features) >= rows.shape[1]:
            raise InputError(f"features names {max(self.features)}; expected positions from 0 to {rows.shape[1] - 1}")
