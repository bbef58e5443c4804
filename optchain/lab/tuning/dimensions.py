"""The tables of dimensions of several kinds, and of choices."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.links import PLACED, short
from optchain.lab.settings.table import Table
from optchain.lab.tuning.normal import Normal
from optchain.lab.tuning.numbers import Dimension, Float, Int, Label, Log


class Choice(Dimension):
    """One of several values of any kind, tables too, which may have names."""

    use: Literal["choice"]
    values: Annotated[(list[Any] | dict[str, Any], *PLACED, Field(min_length=1))]

    @pydantic.model_validator(mode="after")
    def _differ(self) -> "Choice":
        if len(self.labels) < len(self.values):
            raise ValueError(f"values = {self.values}; expected values that differ")
        return self

    @property
    def labels(self) -> dict[Label, Any]:
        """The values by their names: what Optuna stores."""
        if isinstance(self.values, dict):
            return {**self.values}
        shown = short(self.values)
        return {name if isinstance(name, Label) else str(name): x for name, x in zip(shown, self.values, strict=True)}

    def label_of(self, value: Any) -> Label | None:
        """The name of a value, which may be given by its name too."""
        if isinstance(value, Label) and value in self.labels:
            return value
        return next((label for label, known in self.labels.items() if known == value), None)

    @property
    def spread(self) -> int:
        return len(self.values)


DIMENSIONS: dict[str, type[Table]] = {
    "float": Float,
    "log": Log,
    "int": Int,
    "normal": Normal,
    "log_normal": Normal,
    "choice": Choice,
}
AnyDimension = Annotated[Any, Kinds("dimension", DIMENSIONS)]
