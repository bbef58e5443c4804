"""The tables of a configuration from objects."""

import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, get_args

import flax.linen as nn
import optax
import pydantic
from flax import nnx

import optchain as oc
from optchain.core.paths import nearest
from optchain.lab.api.arrays import Arrays
from optchain.lab.api.objects import Objects, place_of
from optchain.lab.base.errors import InputError
from optchain.lab.data.augment import AnyAugment
from optchain.lab.data.examples import Examples
from optchain.lab.data.stream import Stream
from optchain.lab.models.losses import AnyLoss
from optchain.lab.models.metrics import AnyMetric
from optchain.lab.models.tables import AnyModel
from optchain.lab.runs.config import AnyGradient, AnyTask, Setup
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.load import explained
from optchain.lab.settings.parameters import parameters_of
from optchain.lab.settings.table import Table

ROLES: dict[str, Kinds] = {
    name: get_args(annotated)[1]
    for name, annotated in {
        "task": AnyTask,
        "model": AnyModel,
        "loss": AnyLoss,
        "augment": AnyAugment,
        "gradient": AnyGradient,
        "metrics": AnyMetric,
    }.items()
}


class Tables:
    """The tables of a run that is described by objects.

    Args:
        objects: the places of what has no name.
        space: dotted keys whose values are searched for, with one value each: parameters without a default have that
            until they are searched.
    """

    def __init__(self, objects: Objects, space: Mapping[str, Any] = {}) -> None:  # noqa: B006
        self.objects, self.space = objects, space

    def setup(self, told: dict[str, Any]) -> dict[str, Any]:
        """All tables but the optimizer's, from what was told by name; what is None is left out."""
        tables: dict[str, Any] = {}
        for name, value in told.items():
            if value is None:
                continue
            if name == "task":
                tables[name] = self.task(value)
            elif name == "metrics":
                tables[name] = {key: self._table("metrics", x, f"metrics.{key}") for key, x in _by_name(value).items()}
            elif name in ROLES:
                tables[name] = self._table(name, value, name)
            else:
                tables[name] = self.placed(name, value)
        unknown = [name for name in tables if name not in Setup.model_fields]
        if unknown:
            raise InputError(f"{unknown[0]}: unknown argument; {nearest(unknown[0], Setup.model_fields)}")
        return tables

    def task(self, task: Any) -> Any:
        """The table of a task: arrays, examples, a function or an object that gives some, a table, or a dict."""
        if isinstance(task, Arrays):
            return self._own("task", task.load, "task", task.held_out)
        if isinstance(task, Examples | Stream):
            return self._own("task", functools.partial(_same, task), "task", {})
        if not isinstance(task, Table | dict | str) and not callable(task):
            return self._own("task", task.load, "task", {})
        return self._table("task", task, "task")

    def optimizer(self, optimizer: Any) -> dict[str, Any]:
        """The table of a chain: of the object, of a function that makes it, or as it is.

        Raises:
            InputError: it is none of these.
        """
        if isinstance(optimizer, dict):
            return self.placed("optimizer", optimizer)
        if isinstance(optimizer, optax.GradientTransformation):
            try:
                return oc.to_config(optimizer, place=place_of)
            except ValueError:  # something in it has no place: kept whole
                optimizer = functools.partial(_same, optimizer)
        if not callable(optimizer):
            raise InputError(f"optimizer: got {optimizer!r}; expected a chain, or a function that makes one")
        placed = self.objects.place("optimizer", optimizer)
        values = {name: x for name, x in self._searched("optimizer").items() if "." not in name}
        parameters = parameters_of(optimizer)
        required = [name for name, parameter in parameters.items() if parameter.default is parameter.empty]
        self._require_all("optimizer", list(parameters), required, values)
        return {"use": placed.use, **values}

    def placed(self, path: str, value: Any) -> Any:
        """Nested tables, in which each object, such as a class under `use`, has become its place."""
        if isinstance(value, dict):
            return {name: self.placed(path, x) for name, x in value.items()}
        if isinstance(value, list | tuple):
            return [self.placed(path, x) for x in value]
        return self.objects.place(path.replace(".", "-"), value).use if callable(value) else value

    def _table(self, role: str, value: Any, path: str) -> Any:
        """The table of an object in a role: of a name, a dict or a table."""
        if isinstance(value, str):
            return {"use": value}
        if isinstance(value, Table | dict):
            return self.placed(path, value)
        if role == "model":
            value = _maker(value)
        if not callable(value):
            raise InputError(f"{path}: got {value!r}; expected a name, a table, or a class or a function")
        return self._own(role, value, path, {})

    def _own(self, role: str, target: Callable[..., Any], path: str, values: dict[str, Any]) -> Table:
        placed = self.objects.place(path.replace(".", "-"), target)
        values = values | {name: x for name, x in self._searched(path).items() if "." not in name}
        table = ROLES[role].table(placed)
        self._require_all(path, list(table.model_fields), list(table.required()), values)
        try:
            return table.model_validate({"use": placed.use} | values, context={"folder": Path()})
        except pydantic.ValidationError as error:
            raise InputError(f"{path}: {explained(error)}") from None

    def _searched(self, path: str) -> dict[str, Any]:
        """A value for each key below a path that is searched for."""
        return {key.removeprefix(f"{path}."): x for key, x in self.space.items() if key.startswith(f"{path}.")}

    def _require_all(self, path: str, keys: list[str], required: list[str], values: dict[str, Any]) -> None:
        """Every parameter without a default has a value, and every value is that of a parameter."""
        for name in values:
            if name not in keys:
                raise InputError(f"space.'{path}.{name}': there is no such argument; {nearest(name, keys)}")
        for name in required:
            if name not in values:
                cure = f"give it one, or put '{path}.{name}' into the space"
                raise InputError(f"{path} takes {name!r}, which has no default; {cure}")


def _by_name(metrics: Any) -> dict[str, Any]:
    """Metrics by their names: as they are, or a list of functions or of names of built-in ones."""
    if isinstance(metrics, Mapping):
        return dict(metrics)
    several = metrics if isinstance(metrics, list | tuple) else [metrics]
    return {x if isinstance(x, str) else getattr(x, "__name__", "metric"): x for x in several}


def _maker(model: Any) -> Any:
    """What makes a model: a class or a function; of a module of linen a function that gives it."""
    if isinstance(model, nn.Module):
        return functools.partial(_same, model)
    if isinstance(model, nnx.Module):
        raise InputError(f"model: got a {type(model).__name__} of nnx; expected its class, or a function of rngs")
    return model


def _same(made: Any) -> Any:
    return made
