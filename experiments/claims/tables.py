"""The tables of a claim: what is said, what is run, and what would show it."""

import importlib.util
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pydantic
from pydantic import Field, PositiveInt

from optchain import lab

Verdict = Literal["holds", "holds in part", "does not hold"]
STRICT = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)


class Arm(pydantic.BaseModel):
    """One side of a comparison: the configuration with other values, tuned over a space if it has one."""

    model_config = STRICT

    set: dict[str, Any] = {}  # by dotted key of the configuration; a whole table may be replaced
    space: dict[str, Any] = {}
    search: dict[str, Any] = {}  # other values of the search
    needs: str | None = None  # a module, without which the arm is left out


class Check(pydantic.BaseModel):
    """Something that would be seen if the claim were true, judged by the 95 % interval over the fresh seeds."""

    model_config = STRICT

    says: str
    arm: str
    than: str | None = None  # the arm it is compared with, seed by seed
    beyond: list[str] = Field(
        [], max_length=2
    )  # two arms: by how much more it differs than the first of them from the second
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
        if self.beyond and (len(self.beyond) != 2 or self.than is None):
            raise ValueError("beyond names two arms, whose difference the one between arm and than is compared with")
        return self

    @property
    def arms(self) -> list[str]:
        """All arms that it is about."""
        return [self.arm, *([self.than] if self.than else []), *self.beyond]


class Claim(pydantic.BaseModel):
    """A claim, and the arms that are compared. All other tables are the configuration on which it is tried."""

    model_config = STRICT | {"extra": "allow"}

    id: str = Field(pattern="^[A-Z][0-9]+$")
    statement: str  # the claim
    expected: Verdict
    because: str  # why that is expected
    quick: bool = False  # whether it belongs to the subset that takes a minute
    studies: PositiveInt = 1  # seeds of the search, where the search itself is what is compared
    splits: bool = False  # whether each study also has a split of its own
    arms: dict[str, Arm] = Field(min_length=1)
    checks: list[Check] = Field(min_length=1)

    @pydantic.model_validator(mode="after")
    def _arms_exist(self) -> "Claim":
        for i, check in enumerate(self.checks):
            for name in check.arms:
                if name not in self.arms:
                    raise ValueError(f"checks[{i}]: got arm {name!r}; expected one of {', '.join(self.arms)}")
        return self

    def feasible(self) -> "Claim":
        """The claim without the arms that need a module that is not installed, and without their checks."""
        arms = {
            name: arm
            for name, arm in self.arms.items()
            if arm.needs is None or importlib.util.find_spec(arm.needs) is not None
        }
        checks = [check for check in self.checks if set(check.arms) <= set(arms)]
        return self.model_copy(update={"arms": arms, "checks": checks})

    def all_studies(self, path: Path, changes: Mapping[str, Any]) -> dict[str, list[lab.Configuration]]:
        """The studies of every arm.

        Args:
            path: of the claim, relative to whose folder its files are.
            changes: other values of the configuration, by dotted key.

        Raises:
            InputError: naming the arm and the dotted key.
        """
        return {name: self.studies_of(name, path, changes) for name in self.arms}

    def studies_of(self, name: str, path: Path, changes: Mapping[str, Any]) -> list[lab.Configuration]:
        """The studies of an arm, see `all_studies`: without a space, where it has none."""
        arm = self.arms[name]
        tables = {**(self.model_extra or {}), "space": arm.space}
        changes = {**changes, **arm.set, **{f"search.{key}": x for key, x in arm.search.items()}}
        if changes.get("search.sampler") == "grid":
            changes["search.trials"] = None  # a grid has its own number
        first = lab.Configuration(tables, changes, folder=path.parent, source=f"{path}: arms.{name}")
        search, task = (first.tables[table].get("seed", 0) for table in ("search", "task"))
        return [
            first.changed({"search.seed": search + i, "task.seed": task + i * self.splits}) for i in range(self.studies)
        ]


def read(path: Path) -> Claim:
    """The claim in a file.

    Raises:
        InputError: naming the file, the key, what was found and what was expected.
    """
    try:
        return Claim.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except pydantic.ValidationError as error:
        raise lab.InputError("\n".join(f"{path}: {_said(problem)}" for problem in error.errors())) from None
    except ValueError as error:
        raise lab.InputError(f"{path}: {error}") from None


def _said(problem: Any) -> str:
    """A problem that pydantic has found, in a line; without what was found where that is a whole table."""
    key, found, said = ".".join(map(str, problem["loc"])), problem["input"], problem["msg"]
    return ": ".join(filter(None, [key, said if isinstance(found, dict) else f"got {found!r}; {said}"]))
