"""What features and rows are called in errors: as the user knows them."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from optchain.lab.base.errors import InputError
from optchain.lab.data import preprocess
from optchain.lab.data.preprocess.categories import OneHot


@dataclasses.dataclass(frozen=True)
class Named:
    """The names of the training examples.

    Args:
        columns: of the features; none if these have no names.
        place: where the example of a number stands.
    """

    columns: Sequence[str]
    place: Callable[[int], str]

    def not_finite(self, row: int, raw: np.ndarray, feature: int, steps: Iterable[Any]) -> InputError:
        """An error for a row that a network cannot take.

        Args:
            row: its number.
            raw: the row before the steps.
            feature: the number of the value that is missing or not finite after them, from 0.
            steps: all of them.
        """
        wrong = ~np.isfinite(raw.reshape(-1))
        wrong[coded(steps)] = False
        if not wrong.any():
            what = f"feature {feature + 1}, as the steps make it, of {self.place(row)}"
            return InputError(f"preprocess: {what} is not finite")
        first = int(np.argmax(wrong))
        what = f"column {self.columns[first]!r}" if len(self.columns) else f"feature {first + 1}"
        return InputError(f"{what} of {self.place(row)} is missing or not finite; {preprocess.CURE}")


def coded(steps: Iterable[Any]) -> list[int]:
    """The features that are categories: where one is missing there is none."""
    return [at for step in steps if isinstance(step, OneHot) for at in step.features]
