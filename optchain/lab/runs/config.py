"""The configuration of a run: all its tables together."""

from pathlib import Path
from typing import Annotated, Any

import optax
import pydantic

import optchain as oc
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import AnyAugment, Augment
from optchain.lab.data.formats import FORMATS
from optchain.lab.data.preprocess import AnyStep
from optchain.lab.data.tables import TaskTable
from optchain.lab.models.adversary import AnyAdversary
from optchain.lab.models.gradients import AnyGradient
from optchain.lab.models.lora import LoraTable
from optchain.lab.models.losses import AnyLoss, OfData
from optchain.lab.models.metrics import AnyMetrics
from optchain.lab.models.mup import MupTable
from optchain.lab.models.perturbed import PerturbTable
from optchain.lab.models.tables import AnyModel
from optchain.lab.runs.callbacks import AnyCallbacks
from optchain.lab.settings import load as reading
from optchain.lab.settings.grow import Grow, models_of
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.links import Chain, each_value
from optchain.lab.settings.load import Loaded, flat
from optchain.lab.settings.mesh import Mesh
from optchain.lab.settings.places import target
from optchain.lab.settings.start import Start
from optchain.lab.settings.table import Name, Table
from optchain.lab.settings.train import Train
from optchain.lab.trackers.tables import AnyTrackers

STEPS = "train.steps"  # a number of the optimizer that says so is the number of steps
AnyTask = Annotated[Any, Kinds("task", FORMATS, TaskTable)]


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
    callbacks: AnyCallbacks = {}  # what sees each evaluation
    trackers: AnyTrackers = {}  # where else the run writes its rows
    lora: LoraTable | None = None  # matrices that are adapted by others of a low rank
    mup: MupTable | None = (
        None  # a smaller model, whose learning rates and initial sizes the optimizer and the model have
    )
    perturb: PerturbTable | None = None  # what of the model is changed at random in training
    adversary: AnyAdversary = None  # what moves the inputs that are trained on to deceive the model
    mesh: Mesh | None = None  # the devices that compute it together; the first one if left out
    grow: list[Grow] = []  # when the model becomes larger, and how

    @pydantic.model_validator(mode="after")
    def _can_grow(self) -> "Setup":
        models_of(self.model, self.grow)
        return self

    @pydantic.model_validator(mode="after")
    def _with_base(self) -> "Setup":
        """What the base model of `mup` is made of, checked by the model's own table."""
        return self if self.mup is None else self.model_copy(update={"mup": self.mup.checked(self.model)})


def counting_steps(links: Any, steps: Any) -> Any:
    """A chain with the number of steps where it says "train.steps"."""
    return each_value(links, lambda x: steps if x == STEPS else x)


class Config(Setup):
    """A run. `optimizer` is a chain, link by link, as `optchain.from_config` takes it."""

    optimizer: Chain

    @pydantic.model_validator(mode="before")
    @classmethod
    def _with_steps(cls, data: Any) -> Any:
        """The number of steps where the optimizer says "train.steps"."""
        train = data.get("train") if isinstance(data, dict) else None
        steps = train.get("steps") if isinstance(train, dict) else getattr(train, "steps", None)
        return data | {"optimizer": counting_steps(data["optimizer"], steps)} if steps and "optimizer" in data else data

    def in_steps(self, examples: int) -> "Config":
        """The configuration with the steps of its epochs, for a number of training examples.

        Raises:
            InputError: they do not fit together.
        """
        if self.train.is_in_steps:
            return self
        try:
            table = self.train.in_steps(examples)
            return self.model_copy(update={"train": table, "optimizer": counting_steps(self.optimizer, table.steps)})
        except pydantic.ValidationError as error:
            raise InputError(f"train: {reading.explained(error)}") from None
        except ValueError as error:
            raise InputError(f"train.{error}") from None

    def require_epochs(self, examples: int) -> None:
        """A configuration with both steps and epochs, as that of a run, says the same twice.

        Raises:
            InputError: it does not.
        """
        table = self.train
        if table.epochs is not None and table.steps != table.epochs * table.epoch(examples):
            made = f"{table.epochs} epochs of {examples} examples are {table.epochs * table.epoch(examples)}"
            raise InputError(f"train.steps: got {table.steps}, but {made}; leave one of the two out")


def chain_of(config: Config) -> optax.GradientTransformation:
    """The optimizer of a configuration, whose places hold whole paths.

    Raises:
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    return oc.from_config(config.optimizer, resolve=target)


def shown_chain(config: Config) -> str:
    """The optimizer of a configuration as text; with the base model that its numbers are of, where it has one.

    Raises:
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    chain = str(chain_of(config))
    if config.mup is None:
        return chain
    base = ", ".join(f"{key} = {value!r}" for key, value in config.mup.base.items())
    return f"{chain}\nwithin mup: these numbers are those of the base model, whose {base}"


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
