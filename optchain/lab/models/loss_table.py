"""What the table of every loss has."""

import jax
import pydantic
from pydantic import NonNegativeFloat

from optchain.lab.settings.table import Table


class LossTable(Table):
    """Changes of any training loss; each that is left out is not made. What is evaluated is the plain loss."""

    mixup: NonNegativeFloat | None = None  # alpha of the Beta distribution of the shares of two examples
    cutmix: NonNegativeFloat | None = None  # the same of the areas of two images, of which one is pasted into the other
    l1: NonNegativeFloat | None = None  # times the sum of the penalized parameters' absolute values
    l2: NonNegativeFloat | None = None  # times half the sum of their squares
    penalized: str | list[str] = "*/kernel"  # patterns on paths

    @pydantic.model_validator(mode="after")
    def _mixed_in_one_way(self) -> "LossTable":
        if self.mixup is not None and self.cutmix is not None:
            raise ValueError("mixup and cutmix exclude each other; leave one out")
        return self

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the tasks, of each of which it is a loss; none of a loss of one task."""
        return ()

    @property
    def penalizes(self) -> bool:
        """Whether there are penalties."""
        return self.l1 is not None or self.l2 is not None


def mean_of_each(values: jax.Array) -> jax.Array:
    """The mean of each example's values; one number for each example stays what it is."""
    return values.reshape(len(values), -1).mean(-1) if values.ndim > 1 else values
