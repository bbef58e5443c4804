"""A line through noise: y = 3x + noise, 100 points, generated."""

import numpy as np

from optchain import lab


def linear() -> lab.Examples:
    """Points as they are, with the least squares optimum of the training examples as the yardstick."""
    random = np.random.RandomState(1)
    x = random.randn(100, 1)
    y = 3 * x[:, 0] + random.randn(100)
    return lab.Examples(x, y, names=("y",), optimum=least_squares)


def least_squares(inputs: np.ndarray, targets: np.ndarray) -> float:
    """The lowest mean squared error of a line."""
    design = np.hstack([inputs, np.ones_like(inputs)])
    fitted = design @ np.linalg.lstsq(design, targets)[0]
    return float(np.mean((fitted - targets) ** 2))
