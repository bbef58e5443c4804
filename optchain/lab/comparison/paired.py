"""Tests of two optimizers on the same seeds."""

import dataclasses
import math
import statistics
from collections.abc import Sequence

import numpy as np
from scipy.stats import permutation_test, t

from optchain.lab.base.intervals import Interval, interval

MOST = 16  # pairs whose signs are flipped in all ways


@dataclasses.dataclass(frozen=True)
class Paired:
    """By how much one is worse than the other, and how likely that is by chance: two-sided p-values, NaN where it takes
    more pairs."""

    difference: Interval
    t: float  # by Student's t
    flips: float  # by flipping the signs of the differences in all ways; NaN where there are too many


def paired(differences: Sequence[float]) -> Paired:
    """The tests of a difference on each seed."""
    return Paired(interval(differences), _t(differences), _flips(differences))


def _t(differences: Sequence[float]) -> float:
    if len(differences) < 2:
        return math.nan
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if deviation == 0:
        return 0.0 if mean else 1.0
    return float(2 * t.sf(abs(mean) * math.sqrt(len(differences)) / deviation, len(differences) - 1))


def _flips(differences: Sequence[float]) -> float:
    if not 2 <= len(differences) <= MOST:
        return math.nan
    test = permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**MOST)
    return float(test.pvalue)


def holm(values: Sequence[float]) -> list[float]:
    """The p-values of several tests, corrected by Holm's method: that any is below a level by chance is as unlikely as
    the level says. NaN is no test."""
    order = sorted((i for i, p in enumerate(values) if not math.isnan(p)), key=lambda i: values[i])
    corrected, reached = [math.nan] * len(values), 0.0
    for rank, i in enumerate(order):
        reached = max(reached, min(1.0, (len(order) - rank) * values[i]))
        corrected[i] = reached
    return corrected
