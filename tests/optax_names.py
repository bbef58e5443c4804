"""Puts our functions in the place of optax's functions of the same name, wherever a module of optax holds them.

What stands there takes a call as optax does: arguments that have another name here are renamed; left out are those that
are lacking here and have optax's default, and a None that is optax's default. All else that ours refuses is refused.
"""

import inspect
import sys
from collections.abc import Callable
from functools import wraps
from typing import Any

import optax
import optax.contrib

import optchain as oc
from optchain.core.definition import Definition

HOMES = ("optax._src", "optax.transforms", "optax.contrib", "optax.schedules")  # of what makes transformations
RENAMED = {
    "base_optimizer": "tx",
    "epsilon": "eps",
    "fast_optimizer": "tx",
    "optimizer": "tx",
    "seed": "key",
    "weight_decay_mask": "mask",
}
NO_STATE: tuple[Any, ...] = (None, 0, (), {})  # what optax's tests hand to those of optax that keep none


def names() -> dict[str, Callable[..., Any]]:
    """optax's function of each name that we have a function of too."""
    return {
        name: value
        for module in modules()
        for name, value in vars(module).items()
        if callable(value) and callable(getattr(oc, name, None)) and not isinstance(value, type)
    }


def modules() -> list[Any]:
    """The modules of optax that hold what makes transformations, of those that are imported."""
    return [optax, *(module for name, module in sorted(sys.modules.items()) if name.startswith(HOMES))]


def replace(watch: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
    """Replaces them in every module, for the rest of the process.

    Args:
        watch: wraps each function that takes the place of one of optax's.
    """
    theirs = names()
    ours = {id(value): watch(adapted(value, getattr(oc, name))) for name, value in theirs.items()}
    for module in modules():
        for name, value in list(vars(module).items()):
            if id(value) in ours:
                setattr(module, name, ours[id(value)])
    start_without_state()


def adapted(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """Our function for the arguments of optax's."""
    takes, has = inspect.signature(ours).parameters, inspect.signature(theirs).parameters
    if any(p.kind is p.VAR_POSITIONAL for p in has.values()):
        return ours  # `chain` takes links in both

    @wraps(theirs)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = {}
        for name, value in {**dict(zip(has, args, strict=False)), **kwargs}.items():
            default = has[name].default if name in has else inspect.Parameter.empty
            if value is default is None or (name not in takes and same(value, default)):
                continue
            renamed = RENAMED.get(name)
            given[renamed if name not in takes and renamed in takes else name] = value
        return ours(**given)

    return call


def same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (bool, int, float, str, tuple)) and value == default)


def start_without_state() -> None:
    """A transformation of ours that is handed no state begins with its first."""
    update = Definition.update

    def started(self: Definition, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if any(type(state) is type(none) and state == none for none in NO_STATE):
            state = self.init(updates if params is None else params)
        return update(self, updates, state, params, **extra)

    Definition.update = started
