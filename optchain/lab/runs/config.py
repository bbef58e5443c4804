"""The configuration of a run: all its tables together."""

from pathlib import Path
from typing import Annotated, Any

import optax
from pydantic import AfterValidator, ValidationInfo

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import AnyAugment, Augment
from optchain.lab.data.formats import FORMATS
from optchain.lab.data.preprocess import AnyStep
from optchain.lab.data.tables import TaskTable
from optchain.lab.models.losses import AnyLoss, OfData
from optchain.lab.models.metrics import AnyMetrics
from optchain.lab.models.tables import AnyModel
from optchain.lab.settings import load as reading
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.load import Loaded, flat
from optchain.lab.settings.places import absolute, is_place, target
from optchain.lab.settings.table import Name, Table
from optchain.lab.settings.train import Train

AnyGradient = Annotated[Any, Kinds("gradient", {}, Table, 5, (), None, type(None))]
AnyTask = Annotated[Any, Kinds("task", FORMATS, TaskTable)]


class Start(Table):
    """Another run whose parameters this one begins with; the optimizer's state is fresh."""

    run: str  # its folder
    only: list[str] = ["*"]  # patterns on paths of parameters and batch statistics
    exclude: list[str] = []


class Setup(Table):
    """What is learned from what by which model, and how: all of a run but its optimizer."""

    task: AnyTask
    model: AnyModel
    train: Train
    preprocess: dict[Name, AnyStep] | None = None  # steps in their order; those of the task if left out
    augment: AnyAugment = Augment()
    loss: AnyLoss = OfData()
    metrics: AnyMetrics | None = None  # the usual one of the task if left out; the first is what is shown
    gradient: AnyGradient = None  # how the gradients of a batch are made; those of its loss if left out
    start: Start | None = None


def _placed(links: Any, info: ValidationInfo) -> Any:
    """A chain whose places are whole paths."""
    if isinstance(links, dict):
        return {key: _placed(x, info) for key, x in links.items()}
    if isinstance(links, list):
        return [_placed(x, info) for x in links]
    return absolute(links, info.context["folder"]) if info.context and is_place(links) else links


Chain = Annotated[dict[str, Any], AfterValidator(_placed)]


class Config(Setup):
    """A run. `optimizer` is a chain, link by link, as `optchain.from_config` takes it."""

    optimizer: Chain


def chain_of(config: Config) -> optax.GradientTransformation:
    """The optimizer of a configuration, whose places hold whole paths.

    Raises:
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    return oc.from_config(config.optimizer, resolve=target)


def load(path: Path | str, sets: list[str] | None = None, table: type[Loaded] = Config) -> Loaded:
    """The configuration in a file, that of a run if no other table is named; see `settings.load`."""
    return reading.load(path, table, sets)


def with_values(table: Any, numbers: dict[str, Any]) -> Any:
    """A table with other values, which are not checked, at some dotted keys.

    Raises:
        InputError: a key leads into what is no table.
    """
    for dotted, number in numbers.items():
        name, _, rest = dotted.partition(".")
        if not isinstance(table, Table | dict):
            raise InputError(f"got {table!r}, in which there is no {dotted!r}")
        inner = getattr(table, name) if isinstance(table, Table) else table.get(name, {})
        new = {name: with_values(inner, {rest: number}) if rest else number}
        table = table.model_copy(update=new) if isinstance(table, Table) else table | new
    return table


def differences(old: Config, new: Config) -> list[str]:
    """One line for each key whose value differs, or for another order of the links."""
    a, b = flat(old.model_dump()), flat(new.model_dump())
    lines = [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in dict.fromkeys([*a, *b])
        if key not in a or key not in b or a[key] != b[key]
    ]
    for table, what, x, y in (
        ("preprocess", "steps", old.preprocess or {}, new.preprocess or {}),
        ("optimizer", "links", old.optimizer, new.optimizer),
    ):
        common = [[key for key in keys if key in others and key.startswith(table)] for keys, others in ((a, b), (b, a))]
        if common[0] != common[1]:
            lines.append(f"{table}: the {what} in the order {', '.join(x)} -> {', '.join(y)}")
    return lines
