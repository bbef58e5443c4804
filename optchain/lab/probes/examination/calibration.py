"""Whether a model is right as often as it says, and the temperature at which it is.

References:
    Guo et al., 2017, arXiv:1706.04599, equations 3 and 9.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax

BINS = 15
COLDEST, HOTTEST = 0.05, 20.0


class Bin(NamedTuple):
    """Answers of about one confidence."""

    answers: int
    confidence: float  # their mean
    accuracy: float  # the share that is right


def reliability(logits: np.ndarray, targets: np.ndarray, bins: int = BINS) -> list[Bin]:
    """The answers by the probability of the class that they name, in bins of one width; those that are not empty."""
    likely = softmax(logits, axis=1)
    confidence, right = likely.max(1), likely.argmax(1) == targets
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    chosen = [place == i for i in range(bins)]
    return [Bin(int(x.sum()), float(confidence[x].mean()), float(right[x].mean())) for x in chosen if x.any()]


def calibration_error(bins: list[Bin]) -> float:
    """The expected calibration error: the mean distance of confidence and accuracy, over the answers."""
    return sum(b.answers * abs(b.accuracy - b.confidence) for b in bins) / sum(b.answers for b in bins)


def likelihood_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """The mean of -log of the probability of the right class."""
    return float(-log_softmax(logits, axis=1)[np.arange(len(targets)), targets].mean())


def temperature(logits: np.ndarray, targets: np.ndarray) -> float:
    """What logits are to be divided by, so that the right classes are the likeliest: above 1 where it is too sure.

    It changes no answer. It is fitted on examples that are neither trained on nor tested with.
    """
    found: Any = minimize_scalar(
        lambda log: likelihood_loss(logits / np.exp(log), targets),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
    )
    return float(np.exp(found.x))
