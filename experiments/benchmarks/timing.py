"""Times of several contenders in one run."""

import random
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import jax

Name = TypeVar("Name")


def interleaved(
    contenders: Mapping[Name, Callable[[], object]], repeats: int, clock: Callable[[], float] = time.perf_counter
) -> dict[Name, list[float]]:
    """Seconds of each call, taken in turns, so that whatever else the machine does hits all contenders alike.

    The order of each round is drawn anew: a call leaves caches and idle threads behind (OpenMP's go on spinning for a
    while), and in a fixed order always the same contender would pay for them. One round before the first is not
    counted: memory is touched for the first time in it.
    """
    draw = random.Random(0)
    seconds: dict[Name, list[float]] = {name: [] for name in contenders}
    for turn in range(repeats + 1):
        for name in draw.sample(list(contenders), len(contenders)):
            start = clock()
            contenders[name]()
            if turn:
                seconds[name].append(clock() - start)
    return seconds


def milliseconds(seconds: list[float]) -> dict[str, float]:
    """The columns of one contender: the least, which load can only raise, and the median, which shows by how much."""
    return {"ms_min": 1e3 * min(seconds), "ms_median": 1e3 * statistics.median(seconds)}


def compile_timed(jitted: Any, *args: Any, **kwargs: Any) -> tuple[jax.stages.Compiled, float]:
    """A jitted function compiled for these arguments, and the seconds it took."""
    start = time.perf_counter()
    return jitted.lower(*args, **kwargs).compile(), time.perf_counter() - start
