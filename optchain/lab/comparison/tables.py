"""The tables of a comparison."""

from typing import Annotated

import pydantic
from pydantic import Field

from optchain.lab.runs.config import Setup
from optchain.lab.settings.links import Chain
from optchain.lab.settings.load import explained
from optchain.lab.settings.table import Name, Table
from optchain.lab.tuning import space
from optchain.lab.tuning.dimensions import AnyDimension
from optchain.lab.tuning.samplers import AnySampler
from optchain.lab.tuning.tables import Search, Study


class Tuned(Search):
    """The search for every optimizer's values. One that does not look back spends an equal budget equally well."""

    sampler: AnySampler = "quasi_random"
    fresh: Annotated[int, Field(ge=2)] = 5  # seeds, the same for all: fewer than two have no interval

    @pydantic.model_validator(mode="after")
    def _is_decided(self) -> "Tuned":
        if isinstance(self.objective, list):
            raise ValueError("optimizers are compared by one objective; expected search.objective = 'NAME'")
        if self.enqueue or self.warm_start:
            key = "enqueue" if self.enqueue else "warm_start"
            raise ValueError(f"every optimizer begins with the same knowledge; leave out search.{key}")
        return self


class Contender(Table):
    """An optimizer of a comparison: a chain, and which of its values are searched for."""

    chain: Chain
    space: dict[str, AnyDimension] = Field(min_length=1)  # keys and paths are dotted keys of the chain
    default: bool = False  # whether the chain is run as it is written, too

    @pydantic.model_validator(mode="after")
    def _is_in_chain(self) -> "Contender":
        varied: list[str] = []
        for name, dimension in self.space.items():
            path = dimension.path or name
            if not any(path.startswith(f"{other}.") for other in varied):  # a choice may bring the table
                self._require_tables(name, path)
            varied.append(path)
        return self

    def _require_tables(self, dimension: str, path: str) -> None:
        table = self.chain
        for name in path.split(".")[:-1]:
            if not isinstance(table.get(name), dict):
                raise ValueError(f"space.{dimension!r}: the chain has no table {name!r}; it has {', '.join(table)}")
            table = table[name]


class Comparison(Setup):
    """Optimizers on one task: each has a study of its own with the same budget, and its best is run with the same fresh
    seeds as that of the others."""

    search: Tuned
    target: float | None = None  # validation score whose time is told; the worst optimizer's mean if left out
    optimizers: dict[Name, Contender] = Field(min_length=2)

    @pydantic.model_validator(mode="after")
    def _is_fair(self) -> "Comparison":
        if not self.task.validation:
            raise ValueError("validation examples judge the fresh runs too; expected a task.validation of at least 1")
        for name in self.optimizers:
            try:
                self.study(name)
            except pydantic.ValidationError as error:
                raise ValueError(f"optimizers.{name}: {explained(error)}") from None
        if self.search.sampler == "grid":
            points = {name: len(space.grid(contender.space)) for name, contender in self.optimizers.items()}
            if len(set(points.values())) > 1:
                counts = ", ".join(f"{name} {count}" for name, count in points.items())
                raise ValueError(f"every optimizer is tuned by as many trials; the grids have {counts} points")
        return self

    def study(self, name: str) -> Study:
        """The study of one optimizer."""
        contender = self.optimizers[name]
        placed = {
            key: dimension.model_copy(update={"path": f"optimizer.{dimension.path or key}"})
            for key, dimension in contender.space.items()
        }
        search = Search.model_validate(self.search.model_dump())
        shared = {key: getattr(self, key) for key in Setup.model_fields}
        return Study(**shared, optimizer=contender.chain, search=search, space=placed)
