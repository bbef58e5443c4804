"""What the table `[task]` says of any task: how many examples are held out, and how they are chosen."""

from typing import Annotated

from pydantic import AfterValidator, Field, NonNegativeInt, model_validator

from optchain.lab.settings.table import Table


def _held(number: int | float) -> int | float:
    if number < 0 or (isinstance(number, float) and not number < 1):
        raise ValueError(f"got {number}; expected a number of examples, or a fraction of them below 1")
    return number


Held = Annotated[int | float, AfterValidator(_held)]  # examples, or a fraction of all


class TaskTable(Table):
    """What is learned, and how many of its examples are held out; the rest is for training."""

    seed: NonNegativeInt = 0  # of the split, so that runs with other training seeds see the same data
    validation: Held = 0  # without any, the training examples are evaluated
    test: Held = 0
    folds: Annotated[int, Field(ge=2)] | None = None  # parts of what is not for the test, one of which validates
    fold: NonNegativeInt | None = None  # that part
    workers: NonNegativeInt = 0  # processes that read a stream; a thread if 0
    stratify: bool | None = None  # each class as often in every split; where the targets are classes if left out

    @model_validator(mode="after")
    def _folds_belong(self) -> "TaskTable":
        if (self.folds is None) != (self.fold is None) or (self.fold or 0) >= (self.folds or 1):
            raise ValueError(
                f"folds = {self.folds} and fold = {self.fold}; expected both, fold below folds, or neither"
            )
        return self
