"""The tables `[[grow]]`: from which steps on the model is a larger one."""

from collections.abc import Sequence
from typing import Any, Literal

import pydantic
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from optchain.lab.settings.load import explained
from optchain.lab.settings.table import Table

TEXTS = ("axes", "factors", "identity", "layers", "sources", "zero")  # what a model of the user's needs to say


class Grow(Table):
    """A growth. What `axes` and the keys below it say of a model of your own is what `optchain.grow` takes."""

    at: PositiveInt  # the step after which the model grows, a multiple of train.evaluate_every
    model: dict[str, Any]  # the keys of the table `model` that change
    way: Literal["keep", "stack"] = (
        "keep"  # the function stays; or new layers are copies of those below, and it does not
    )
    noise: NonNegativeFloat = 0.1  # that tells copies of a unit apart, as a part of the root mean square of the weights
    axes: dict[str, str] = {}  # which units each axis of a parameter counts, by pattern: "_ -> hidden"
    factors: dict[str, PositiveFloat] = {}  # by what parameters are multiplied besides, by pattern
    identity: list[str] = []  # patterns on new layers that begin as the identity
    layers: list[str] = []  # patterns on parameters whose first axis counts layers that are stacked
    sources: dict[str, str] = {}  # patterns on new paths, and the old ones from which they come
    zero: list[str] = []  # patterns on new parameters that begin with 0


def models_of(model: Table, stages: Sequence[Grow]) -> list[Table]:
    """The table of the model before the first growth and after each.

    Raises:
        ValueError: naming a key that the table does not have, or a value that does not fit.
    """
    found = [model]
    for i, stage in enumerate(stages):
        if not stage.model:
            raise ValueError(f"grow.{i}.model: got no key; expected those that change")
        if "use" in stage.model:
            raise ValueError(
                f"grow.{i}.model.use: got {stage.model['use']!r}; a growth changes sizes, not what model it is"
            )
        try:
            found.append(type(model).model_validate(found[-1].model_dump() | stage.model))
        except pydantic.ValidationError as error:
            raise ValueError(f"grow.{i}.model.{explained(error)}") from None
        if found[-1] == found[-2]:
            raise ValueError(f"grow.{i}.model: got the model that there was before; expected a larger one")
    return found


def require_order(stages: Sequence[Grow], steps: int, every: int) -> None:
    """The model grows at evaluations, one after the other, before the last step.

    Raises:
        ValueError: naming the step.
    """
    before = 0
    for i, stage in enumerate(stages):
        if stage.at <= before:
            raise ValueError(f"grow.{i}.at = {stage.at}; expected a step after {before}, that of the growth before")
        if stage.at >= steps:
            raise ValueError(f"grow.{i}.at = {stage.at}; expected a step before the last one, train.steps = {steps}")
        if stage.at % every:
            raise ValueError(f"grow.{i}.at = {stage.at}; expected a multiple of train.evaluate_every = {every}")
        before = stage.at
