"""The tables of a claim: what is said, what is run, and what would show it."""

from typing import Any, Literal

import pydantic
from pydantic import Field, PositiveInt

from optchain.lab.runs.config import Config, with_values
from optchain.lab.settings.table import Name, Table
from optchain.lab.tuning.dimensions import AnyDimension
from optchain.lab.tuning.sampler import lacks
from optchain.lab.tuning.tables import Search, Study

Verdict = Literal["holds", "holds in part", "does not hold"]


class Arm(Table):
    """One side of a comparison: the configuration with other values, tuned over a space if it has one."""

    set: dict[str, Any] = {}  # by dotted key of the configuration; a whole table may be replaced
    space: dict[str, AnyDimension] = {}
    search: dict[str, Any] = {}  # other values of the search
    leaks: bool = False  # whether inputs are prepared by what is learned from all rows, held out ones too


class Check(Table):
    """Something that would be seen if the claim were true, judged by the 95 % interval over the fresh seeds."""

    says: str
    arm: str
    than: str | None = None  # the arm it is compared with, seed by seed
    score: str = "test loss"  # a split and the loss or the metric; or gap, steps, seconds, diverged
    relation: Literal["above", "below", "different", "equal", "higher", "lower"]
    value: float | None = None  # of above and below
    margin: float | None = None  # of equal: how far apart two means may lie

    @pydantic.model_validator(mode="after")
    def _fits(self) -> "Check":
        for name, relations in (("value", ("above", "below")), ("margin", ("equal",))):
            if (getattr(self, name) is not None) != (self.relation in relations):
                raise ValueError(f"{name} belongs to {' and '.join(relations)}, all of which need it")
        if (self.than is None) != (self.relation in ("above", "below")):
            raise ValueError(f"relation {self.relation!r} {'takes no' if self.than else 'needs'} than")
        return self


class Claim(Config):
    """A claim, the configuration on which it is tried, and the arms that are compared."""

    id: str = Field(pattern="^[A-Z][0-9]+$")
    statement: str  # the claim
    expected: Verdict
    because: str  # why that is expected
    quick: bool = False  # whether it belongs to the subset that takes a minute
    search: Search
    studies: PositiveInt = 1  # seeds of the search, where the search itself is what is compared
    splits: bool = False  # whether each study also has a split of its own
    arms: dict[Name, Arm] = Field(min_length=1)
    checks: list[Check] = Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _arms_exist(self) -> "Claim":
        from optchain.core.paths import nearest

        for i, check in enumerate(self.checks):
            for name in filter(None, (check.arm, check.than)):
                if name not in self.arms:
                    raise ValueError(f"checks[{i}]: arm {name!r}; {nearest(name, self.arms)}")
        return self

    def feasible(self) -> "Claim":
        """The claim without the arms whose sampler needs a library that is not installed, and without their checks."""
        arms = {
            name: arm
            for name, arm in self.arms.items()
            if lacks(arm.search.get("sampler", self.search.sampler)) is None
        }
        checks = [check for check in self.checks if {check.arm, check.than or check.arm} <= set(arms)]
        return self.model_copy(update={"arms": arms, "checks": checks})

    def study(self, name: str, seed: int) -> Study:
        """The study of an arm: of one point, where it has no space."""
        arm = self.arms[name]
        table = self.model_dump(include=set(Config.model_fields))
        table["task"]["seed"] += seed * self.splits
        search = self.search.model_dump() | {"seed": self.search.seed + seed} | arm.search
        if search["sampler"] == "grid":
            search["trials"] = None
        space = {key: value.model_dump() for key, value in arm.space.items()}
        return Study.model_validate(with_values(table, arm.set) | {"search": search, "space": space})
