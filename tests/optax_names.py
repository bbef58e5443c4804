"""Puts our functions in the place of optax's functions of the same name, wherever a module of optax holds them.

What stands there takes a call as optax does: arguments that have another name here are renamed, and optax's defaults
are given where ours are others. Left out are arguments that are lacking here and have optax's default, and a None that
is optax's default. What another function has here, such as slots in bfloat16, is made by that one. All else is refused
as ours refuses it.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

import jax.numpy as jnp
import optax
import optax.contrib
from jax.core import Tracer
from optax.contrib import _muon

import optchain as oc
from optchain.core.definition import Definition
from optchain.matrices.newton_schulz import MUON

HOMES = ("optax._src", "optax.transforms", "optax.contrib", "optax.schedules")  # of what makes transformations
RENAMED = {
    "base_optimizer": "tx",
    "epsilon": "eps",
    "fast_optimizer": "tx",
    "optimizer": "tx",
    "seed": "key",
    "weight_decay_mask": "mask",
}
NARROW = ("accumulator_dtype", "dtype_momentum", "mu_dtype", "state_dtype")  # dtypes of slots
REQUIRED = inspect.Parameter.empty
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
    ours = {id(value): watch(adapted(value, getattr(oc, name))) for name, value in names().items()}
    ours[id(optax.contrib.schedule_free_eval_params)] = watch(oc.averaged_params)
    for module in modules():
        for name, value in list(vars(module).items()):
            if id(value) in ours:
                setattr(module, name, ours[id(value)])
    start_without_state()


def adapted(theirs: Callable[..., Any], ours: Callable[..., Any]) -> Callable[..., Any]:
    """Our function for the arguments of optax's."""
    has, name = inspect.signature(theirs).parameters, ours.__name__
    if any(p.kind is p.VAR_POSITIONAL for p in has.values()):
        return ours  # `chain` takes links in both

    @wraps(theirs)
    def call(*args: Any, **kwargs: Any) -> Any:
        given = {**dict(zip(has, args, strict=False)), **kwargs}
        ours_now, given = ELSEWHERE[name](ours, given) if name in ELSEWHERE else (ours, given)
        return called(ours_now, has, given)

    return call


def called(ours: Callable[..., Any], has: Mapping[str, Any], given: Mapping[str, Any]) -> Any:
    """What our function makes of a call of optax's."""
    takes = inspect.signature(ours).parameters
    passed = {name: p.default for name, p in has.items() if name in takes and differs(p.default, takes[name].default)}
    slots = "float32"
    for name, value in given.items():
        default = has[name].default if name in has else REQUIRED
        renamed = RENAMED.get(name, name)
        if name in takes or renamed in takes:
            if value is not None or default is not None:
                passed[name if name in takes else renamed] = value
        elif isinstance(value, Tracer):
            continue  # `inject_hyperparams` traces optax's defaults too
        elif name in NARROW and jnp.dtype(value or "float32").name in ("float32", "bfloat16"):
            slots = jnp.dtype(value or "float32").name
        elif not same(value, default):
            passed[name] = value  # which ours refuses
    tx = ours(**passed)
    return tx if slots == "float32" else oc.precision(tx, slots=slots)


def differs(theirs: Any, ours: Any) -> bool:
    """Whether a default of optax's is a number or a word, and another one than ours."""
    return isinstance(theirs, (bool, int, float, str)) and ours is not REQUIRED and theirs != ours


def same(value: Any, default: Any) -> bool:
    return value is default or (isinstance(value, (bool, int, float, str, tuple)) and value == default)


def of_rate_one(ours: Any, given: dict[str, Any]) -> Any:
    """A learning rate of None is 1 in optax's Adafactor."""
    rate = given.get("learning_rate")
    return ours, {**given, "learning_rate": 1.0 if rate is None else rate}


def with_nesterov(ours: Any, given: dict[str, Any]) -> Any:
    """Adam that looks ahead is a function of its own."""
    nesterov = given.pop("nesterov", False)
    return oc.scale_by_nadam if nesterov else ours, given


def with_one_rate(ours: Any, given: dict[str, Any]) -> Any:
    """Muon steps all parameters of two axes and no others in optax, all at one rate, and names other coefficients."""
    coefficients = {"standard": MUON, "dion": tuple(_muon._DION_NS_COEFFS)}
    named = {name: coefficients.get(x, x) for name, x in given.items() if name == "ns_coeffs" and isinstance(x, str)}
    given = {name: x for name, x in given.items() if x is not None}
    return ours, {"adam_learning_rate": given["learning_rate"], "adamw": not_of_two_axes, **given, **named}


def not_of_two_axes(path: str, leaf: Any) -> bool:
    return leaf.ndim != 2


def of_all_ranks(ours: Any, given: dict[str, Any]) -> Any:
    """What is no matrix is stepped by Adam within optax's GaLore."""

    def make(**arguments: Any) -> Any:
        projected = ours(**arguments, mask=lambda path, leaf: leaf.ndim == 2)
        return oc.chain(galore=projected, adam=oc.scale_by_adam(mask=not_of_two_axes))

    make.__signature__ = inspect.signature(ours)  # pyright: ignore
    return make, given


# What a call of optax's means here, where that is not the same argument of the same function.
ELSEWHERE: Mapping[str, Callable[[Any, dict[str, Any]], Any]] = {
    "adafactor": of_rate_one,
    "scale_by_adam": with_nesterov,
    "muon": with_one_rate,
    "scale_by_galore": of_all_ranks,
}


def start_without_state() -> None:
    """A transformation of ours that is handed no state begins with its first."""
    update = Definition.update

    def started(self: Definition, updates: Any, state: Any, params: Any = None, **extra: Any) -> Any:
        if any(type(state) is type(none) and state == none for none in NO_STATE):
            state = self.init(updates if params is None else params)
        return update(self, updates, state, params, **extra)

    Definition.update = started
