"""Denoising: each row filtered by itself, images over height and width, vectors along their features.

The filters of vectors are for features in an order, such as the samples of a signal.
"""

from typing import Literal

import numpy as np
from pydantic import NonNegativeInt, PositiveFloat, PositiveInt, model_validator
from scipy import ndimage, signal

from optchain.lab.base.errors import InputError
from optchain.lab.data.preprocess.step import Fitted, RowByRow, require_complete


class MedianFilter(RowByRow):
    """Each value becomes the median of the `size` neighbours around it, in images of `size` x `size`."""

    use: Literal["median_filter"] = "median_filter"
    size: PositiveInt = 3

    @model_validator(mode="after")
    def _has_a_middle(self) -> "MedianFilter":
        if self.size % 2 == 0:
            raise ValueError(f"size = {self.size} has no middle; expected an odd number")
        return self

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        require_complete(inputs)
        sizes = [self.size if own else 1 for own in _neighbouring(inputs)]
        return Fitted(lambda rows: ndimage.median_filter(rows, sizes, mode="nearest"))


class GaussianFilter(RowByRow):
    """A mean of the neighbours, weighted by a Gaussian whose standard deviation is `sigma` features or pixels."""

    use: Literal["gaussian_filter"] = "gaussian_filter"
    sigma: PositiveFloat = 1.0

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        require_complete(inputs)
        sigmas = [self.sigma if own else 0.0 for own in _neighbouring(inputs)]
        return Fitted(lambda rows: ndimage.gaussian_filter(rows, sigmas, mode="nearest"))


class Savgol(RowByRow):
    """A polynomial fitted to the `window` values around each: the filter of Savitzky and Golay, for vectors."""

    use: Literal["savgol"] = "savgol"
    window: PositiveInt = 5
    order: NonNegativeInt = 2

    @model_validator(mode="after")
    def _is_determined(self) -> "Savgol":
        if self.window % 2 == 0 or self.order >= self.window:
            raise ValueError(
                f"window = {self.window}, order = {self.order}; expected an odd window, larger than the order"
            )
        return self

    def fit(self, inputs: np.ndarray, targets: np.ndarray) -> Fitted:
        require_complete(inputs)
        if inputs.ndim != 2:
            raise InputError("savgol filters vectors, not images; expected 'gaussian_filter' or 'median_filter'")
        if self.window > inputs.shape[1]:
            raise InputError(f"window = {self.window} is larger than a row of {inputs.shape[1]} features")
        return Fitted(lambda rows: np.asarray(signal.savgol_filter(rows, self.window, self.order, axis=1)))


def _neighbouring(inputs: np.ndarray) -> list[bool]:
    """Along which axes values have neighbours: not along rows, nor along the channels of images."""
    return [False, *([True, True, False] if inputs.ndim == 4 else [True])]
