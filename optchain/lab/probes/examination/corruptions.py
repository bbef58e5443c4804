"""Inputs as they may come from the world: noisy, blurred, pale, shifted, with parts missing.

References:
    Hendrycks and Dietterich, 2019, arXiv:1903.12261: corruptions of five severities.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

SEVERITIES = (1, 2, 3, 4, 5)
Corrupt = Callable[[np.ndarray, int, np.random.Generator, Any], np.ndarray]


def noise(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """Normal noise of a tenth to a half of the deviation of the training inputs."""
    return inputs + 0.1 * severity * spread * draw.standard_normal(inputs.shape)


def missing(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """A tenth to a half of the entries are the mean of the example's."""
    mean = inputs.mean(tuple(range(1, inputs.ndim)), keepdims=True)
    return np.where(draw.random(inputs.shape) < 0.1 * severity, mean, inputs)


def pale(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """Entries are nearer to their example's mean, by 15 to 75 percent of the way."""
    mean = inputs.mean(tuple(range(1, inputs.ndim)), keepdims=True)
    return inputs + 0.15 * severity * (mean - inputs)


def bright(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """All entries are higher, by a fifth of the deviation of the training inputs to the whole of it."""
    return inputs + 0.2 * severity * spread


def blurred(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """Images behind a Gaussian filter, whose width grows to a twelfth of the image's."""
    width = severity * max(inputs.shape[1:3]) / 60
    return gaussian_filter(inputs, (0, width, width, 0), mode="nearest")


def shifted(inputs: np.ndarray, severity: int, draw: np.random.Generator, spread: Any) -> np.ndarray:
    """Images moved to the right by a pixel to a fifth of their width; what comes in repeats the border."""
    count = max(round(severity * inputs.shape[2] / 25), 1)
    return np.concatenate([np.repeat(inputs[:, :, :1], count, 2), inputs[:, :, :-count]], 2)[:, :, : inputs.shape[2]]


OF_ANY: dict[str, Corrupt] = {"noise": noise, "missing": missing, "pale": pale, "bright": bright}
OF_IMAGES: dict[str, Corrupt] = {"blurred": blurred, "shifted": shifted}
