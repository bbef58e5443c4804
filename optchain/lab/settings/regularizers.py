"""The typed tables of what keeps a network from learning by heart: augmentation, and a changed training loss."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from optchain.lab.settings.table import Fraction, Table


class Augment(Table):
    """Random changes of the training inputs; each that is left out is not made. All but noise are for images.

    A flipped digit is another digit, or none: `flip` is for images of which the mirror image is one too.
    """

    shift: NonNegativeFloat | None = None  # pixels at most, in each direction
    rotate: NonNegativeFloat | None = None  # degrees at most, either way
    scale: Annotated[float, Field(ge=1)] | None = None  # factor at most, larger or smaller
    flip: Annotated[float, Field(ge=0, le=1)] | None = None  # probability, left to right
    crop: PositiveInt | None = None  # pixels of padding on each side, from which a piece of the old size is cut
    noise: NonNegativeFloat | None = None  # standard deviation, in units of the prepared inputs

    @property
    def of_images(self) -> list[str]:
        """The changes that are asked for and need images."""
        return [name for name in type(self).model_fields if name != "noise" and getattr(self, name) is not None]


class Loss(Table):
    """Changes of the training loss; each that is left out is not made. What is evaluated is the plain loss."""

    label_smoothing: Fraction | None = None  # of the target, shared among all classes
    focal: NonNegativeFloat | None = None  # the power of 1 - probability by which sure examples weigh less
    class_weights: Literal["balanced"] | None = None  # each class as much as any other, by the training counts
    logit_adjustment: NonNegativeFloat | None = None  # times the log of each class's share, added to its logit
    mixup: NonNegativeFloat | None = None  # alpha of the Beta distribution of the shares of two examples
    huber: PositiveFloat | None = None  # the error beyond which a squared one becomes linear
    l1: NonNegativeFloat | None = None  # times the sum of the penalized parameters' absolute values
    l2: NonNegativeFloat | None = None  # times half the sum of their squares
    penalized: str | list[str] = "*/kernel"  # patterns on paths

    @property
    def changes_classes(self) -> list[str]:
        """What is asked for that is for a cross entropy of classes."""
        names = ("label_smoothing", "focal", "class_weights", "logit_adjustment")
        return [name for name in names if getattr(self, name) is not None]

    @property
    def penalizes(self) -> bool:
        """Whether there are penalties."""
        return self.l1 is not None or self.l2 is not None
