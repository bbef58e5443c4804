"""The best score that a search has after so many trials: what it is expected to be, and what it was."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from optchain.lab.base.intervals import CONFIDENCE
from optchain.lab.tuning.samplers import is_adaptive
from optchain.lab.tuning.tables import Search
from optchain.lab.tuning.trials import Trial

RESAMPLES = 400


@dataclasses.dataclass(frozen=True)
class BestSoFar:
    """The best score after each number of trials. The interval's ends are NaN where the curve is what was observed."""

    trials: np.ndarray
    seconds: np.ndarray  # of all work on the trials, up to there
    score: np.ndarray
    low: np.ndarray
    high: np.ndarray


def best_so_far(trials: Sequence[Trial], search: Search, sign: float, worst: float | None = None) -> BestSoFar | None:
    """The curve of a study; None as long as no trial has finished.

    Where no trial depends on an earlier one, their order is an accident: the curve is then the expected best of so many
    of them, drawn without replacement, with a bootstrap interval. Else it is the best that was observed.

    Args:
        trials: the trials by number. One that could not be run is left out.
        search: how the trials were chosen.
        sign: -1 where higher is better.
        worst: the score of what was pruned, diverged or broke a constraint, which cost a trial too; if left out, the
            worst of the others.
    """
    ended = [trial for trial in trials if trial.state in ("finished", "pruned", "diverged")]
    finished = [sign * trial.score for trial in ended if trial.counts]
    if not finished:
        return None
    least = max(finished) if worst is None else sign * worst
    scores = np.array([sign * trial.score if trial.counts else least for trial in ended])
    seconds, counts = np.cumsum([sum(trial.seconds.values()) for trial in ended]), np.arange(1, len(ended) + 1)
    if is_adaptive(search.sampler):
        nothing = np.full(len(scores), np.nan)
        return BestSoFar(counts, seconds, sign * np.minimum.accumulate(scores), nothing, nothing)
    mean = expected_least(scores)
    low, high = least_interval(scores, search.seed)
    low, high = (low, high) if sign > 0 else (high, low)
    return BestSoFar(counts, counts * seconds[-1] / len(ended), sign * mean, sign * low, sign * high)


def expected_least(values: np.ndarray) -> np.ndarray:
    """The expected least of n of the values, drawn without replacement, for n from 1 to all of them: exactly."""
    return _weights(len(values)) @ np.sort(values)


def least_interval(values: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The bootstrap interval of `expected_least`, by percentiles."""
    samples = np.random.default_rng(seed).choice(values, (RESAMPLES, len(values)))
    curves = np.sort(samples, axis=1) @ _weights(len(values)).T
    low, high = np.quantile(curves, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return low, high


def _weights(count: int) -> np.ndarray:
    """The probability that the i-th least of all is the least of n, in row n - 1 and column i.

    Of C(count, n) draws, C(count - 1 - i, n - 1) have it and none below it. Each is the one before it times
    (count - i - n) / (count - 1 - i), which never overflows.
    """
    n, i = np.arange(1, count + 1)[:, None], np.arange(count - 1)
    later = np.cumprod(np.maximum(count - i - n, 0) / (count - 1 - i), axis=1)
    return n / count * np.hstack([np.ones((count, 1)), later])
