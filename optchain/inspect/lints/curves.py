"""The values of a schedule over a run, by evaluating it."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

POINTS = 512
BEYOND = 2**23  # a step after the end of every schedule that ends; whole steps are exact up to 2**24


@dataclasses.dataclass(frozen=True, eq=False)
class Curve:
    """A schedule.

    Attributes:
        where: the dotted name of the link.
        number: which of its numbers it is.
        function: of the step.
        steps: how often the link steps in the run; None if that is not known.
    """

    where: str
    number: str
    function: Callable[[Any], Any]
    steps: int | None

    @functools.cached_property
    def at(self) -> np.ndarray:
        """Steps of the run, the last one included; some thousands of any where it is not known how many there are."""
        if self.steps is not None:
            return np.unique(np.linspace(0, max(self.steps - 1, 0), POINTS).astype(np.int32))
        return np.unique(np.geomspace(1, BEYOND, POINTS).astype(np.int32) - 1)

    @functools.cached_property
    def values(self) -> np.ndarray:
        """The values at these steps."""
        return self.value(self.at)

    @property
    def peak(self) -> float:
        """The value that is largest by size."""
        return float(self.values[np.argmax(np.abs(self.values))])

    @functools.cached_property
    def last(self) -> float:
        """The value of the last step."""
        return float(self.values[-1])

    def value(self, steps: np.ndarray) -> np.ndarray:
        """The values at any steps."""
        try:
            found = jax.vmap(self.function)(jax.numpy.asarray(steps))
        except Exception:  # noqa: BLE001, a function that takes single steps alone, and may branch on them
            found = [self.function(jax.numpy.asarray(k)) for k in steps]
        return np.asarray(found, np.float64)

    @functools.cached_property
    def end(self) -> tuple[int, float] | None:
        """The step at which it stops to change and the value there; None for one that does not stop, or fades out."""
        final, later = self.value(np.array([BEYOND, BEYOND + BEYOND // 3]))
        if final != later:
            return None
        low, high = -1, BEYOND  # of a schedule that comes back to its last value before it stops, the last return
        ks = np.unique(np.geomspace(1, BEYOND, 4 * POINTS).astype(np.int32) - 1)
        differ = np.flatnonzero(self.value(ks) != final)
        if not differ.size or differ[-1] + 1 == ks.size:
            return None
        low, high = int(ks[differ[-1]]), int(ks[differ[-1] + 1])
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self.value(np.array([middle]))[0] == final else (middle, high)
        before = self.value(np.array([int(0.9 * high)]))[0]
        is_sharp = abs(before - final) > 1e-4 * max(abs(self.peak), abs(final))
        return (high, float(final)) if is_sharp else None
