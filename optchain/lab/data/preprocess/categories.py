"""Categories: numbers that name one of several kinds, as columns of 0 and 1."""

from typing import Literal

import numpy as np
from pydantic import Field, NonNegativeInt, model_validator

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, Step


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
        if inputs.ndim != 2:
            raise InputError(
                f"one_hot is for rows of features; got inputs of shape {inputs.shape[1:]} for each example"
            )
        width = inputs.shape[1]
        if max(self.features) >= width:
            raise InputError(f"features names {max(self.features)}; expected positions from 0 to {width - 1}")
        known = {at: np.unique(column[~np.isnan(column)]) for at in self.features for column in [inputs[:, at]]}

        def transform(rows: np.ndarray) -> np.ndarray:
            if rows.shape[1:] != (width,):
                raise InputError(f"got rows of shape {rows.shape[1:]}; expected {width} features, as in training")
            parts = [rows[:, at, None] == known[at] if at in known else rows[:, at, None] for at in range(width)]
            return np.concatenate(parts, axis=1, dtype=np.float64)

        return Fitted(transform)
