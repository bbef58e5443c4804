"""Two noisy circles, one within the other: 1,000 points, generated."""

import numpy as np
from sklearn.datasets import make_circles

from optchain import lab


def circles() -> lab.Examples:
    """Points of the plane, and whether they lie on the inner circle."""
    points, inner = map(np.asarray, make_circles(1000, factor=0.3, noise=0.05, random_state=0))
    steps = {"standardize": lab.Standardize()}
    return lab.Examples(points, inner, labels=[0, 1], names=("inner",), steps=steps)
