"""Examples whose labels are probably wrong, by confident learning.

References:
    Northcutt et al., 2019, arXiv:1911.00068, equations 1 and 2, and method 3 of section 3.2 ("prune by class").
"""

from typing import NamedTuple

import numpy as np


class Suspect(NamedTuple):
    """An example whose label the model holds to be another."""

    example: int
    given: int
    likely: int
    margin: float  # of the probability of the likely class over that of the given one


def thresholds(likely: np.ndarray, given: np.ndarray) -> np.ndarray:
    """Of each class the mean probability that examples with its label have of it; above 1 for a class without any."""
    return np.array([likely[given == k, k].mean() if (given == k).any() else 2.0 for k in range(likely.shape[1])])


def confident_joint(likely: np.ndarray, given: np.ndarray) -> np.ndarray:
    """int[given, likely]: how many examples of each label are confidently of each class: of those whose probability is
    at least the class's threshold, of the likeliest."""
    found = confident(likely, given)
    counts = np.zeros((likely.shape[1],) * 2, int)
    np.add.at(counts, (given[found >= 0], found[found >= 0]), 1)
    return counts


def confident(likely: np.ndarray, given: np.ndarray) -> np.ndarray:
    """The class that each example confidently is of; -1 where there is none."""
    passed = likely >= thresholds(likely, given)
    return np.where(passed.any(1), np.where(passed, likely, -1).argmax(1), -1)


def suspects(likely: np.ndarray, given: np.ndarray) -> list[Suspect]:
    """The examples that are confidently of another class than their label's, the surest first.

    Args:
        likely: f[examples, classes], probabilities by a model that has not been trained on these examples.
        given: their labels, as numbers.
    """
    found = confident(likely, given)
    rows = np.flatnonzero((found >= 0) & (found != given))
    made = [
        Suspect(int(i), int(given[i]), int(found[i]), float(likely[i, found[i]] - likely[i, given[i]])) for i in rows
    ]
    return sorted(made, key=lambda suspect: -suspect.margin)
