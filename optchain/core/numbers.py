"""The numbers of a technique: what each may be, how it is checked, and its value at one step."""

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, get_type_hints

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optchain.core.describe import written
from optchain.core.elsewhere import at_position, elsewhere
from optchain.core.paths import nearest
from optchain.core.seeds import checked_seed

Scalar = float | jax.Array  # what a law computes with
# What a user gives: a scalar, traced or not, or a schedule, which may be any function of the step.
Number = Scalar | Callable[[jax.Array], jax.typing.ArrayLike]


@dataclasses.dataclass(frozen=True)
class Range:
    """An interval in the usual notation, such as ``[0, 1)``; NaN lies in none."""

    interval: str

    def __contains__(self, x: float) -> bool:
        low, high = map(float, self.interval[1:-1].split(","))
        above = low < x or (low == x and self.interval[0] == "[")
        below = x < high or (x == high and self.interval[-1] == "]")
        return above and below


Decay = Annotated[Scalar, Range("[0, 1)")]
Mean = Annotated[
    Scalar, Range("[0, 1)"), "mean"
]  # the decay of a mean that starts at 0; its link keeps the weight seen
Fraction = Annotated[Scalar, Range("[0, 1]")]
Positive = Annotated[Scalar, Range("(0, inf)")]
NonNegative = Annotated[Scalar, Range("[0, inf)")]
Rate = Annotated[Scalar, Range("(-inf, inf)")]

T = TypeVar("T")
Static = Annotated[T, "static"]  # fixed at construction: never traced, scheduled or overridden
SEED = "seed"
Seed = Annotated[int | jax.Array, SEED]  # of what a rule draws: a whole number or a key, which may be traced

Allowed = Range | type | str  # what an argument may be: a number in a range, of one type, or `SEED`


@functools.cache
def ranges(definition: Any) -> dict[str, Range]:
    """The range of each numeric field of a rule, or each numeric argument of a function."""
    return {name: data[0] for name, data in _metadata(definition, Range).items()}


@functools.cache
def means(rule: type) -> tuple[str, ...]:
    """The numbers of a rule that are decays of means, whose link keeps the weight that each has seen."""
    return tuple(name for name, data in _metadata(rule, str).items() if "mean" in data)


@functools.cache
def statics(definition: Any) -> dict[str, Any]:
    """The type of each static field of a rule."""
    hints = _hints(definition)
    return {name: hints[name].__origin__ for name, data in _metadata(definition, str).items() if "static" in data}


@functools.cache
def seeds(definition: Any) -> tuple[str, ...]:
    """The fields of a rule that are seeds: it draws random numbers where there is one."""
    return tuple(name for name, data in _metadata(definition, str).items() if SEED in data)


@functools.cache
def _hints(definition: Any) -> dict[str, Any]:
    return get_type_hints(definition, include_extras=True)


def _metadata(definition: Any, kind: type) -> dict[str, list[Any]]:
    """What the annotations of a class or function say, of one kind, by name."""
    hints = _hints(definition)
    data = {name: [x for x in getattr(hint, "__metadata__", ()) if isinstance(x, kind)] for name, hint in hints.items()}
    return {name: marks for name, marks in data.items() if marks}


def whole(owner: str, name: str, value: Any, least: int) -> int:
    """The value of an argument that counts something; anything but a whole number of at least `least` is an error."""
    if type(value) is not int or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, got {value!r}")
    return value


def checked(owner: str, name: str, value: Any, allowed: Allowed) -> Any:
    """The value of one argument; a constant outside its range is an error, schedules and traced values pass."""
    if isinstance(allowed, str):
        return checked_seed(owner, name, value)
    if isinstance(allowed, type):
        if type(value) is not allowed:
            raise ValueError(f"{owner}: {name} must be of type {allowed.__name__}, got {value!r}")
        return value
    if callable(value) or isinstance(value, Tracer):
        return value
    expected = f"must be a scalar in {allowed.interval} or a schedule"
    if isinstance(value, (str, bool)) or getattr(value, "ndim", 0) != 0 or value is None:
        raise ValueError(f"{owner}: {name} {expected}, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{owner}: {name} {expected}, got {value!r}") from None
    if number not in allowed:
        raise ValueError(f"{owner}: {name} must lie in {allowed.interval}, got {value}")
    return value if isinstance(value, jax.Array) else number


def constraints(definition: Any) -> dict[str, Allowed]:
    """What each field of a rule may be: a number in a range, of a type if it is static, or a seed."""
    types = {name: kind for name, kind in statics(definition).items() if isinstance(kind, type)}
    return types | ranges(definition) | dict.fromkeys(seeds(definition), SEED)


def bind(
    owner: str, signature: inspect.Signature, allowed: Mapping[str, Allowed], args: Any, kwargs: Any
) -> dict[str, Any]:
    """The arguments of a call by name, defaults included, each checked.

    Raises:
        TypeError: a call that does not fit the signature.
        ValueError: a number outside its range, or of another type.
    """
    for name in kwargs:
        if name not in signature.parameters:
            cure = elsewhere(owner, name) or nearest(name, signature.parameters)
            raise TypeError(f"{owner} has no argument {name!r}; {cure}")
    positions = sum(p.kind is p.POSITIONAL_OR_KEYWORD for p in signature.parameters.values())
    if len(args) > positions:
        rest = f"give all others by name: {', '.join(list(signature.parameters)[positions:])}"
        cure = "".join(f"; {x}" for x in (rest, at_position(owner, positions)) if x)
        raise TypeError(f"{owner} takes {positions} arguments by position, got {len(args)}{cure}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        known = (
            name if p.default is p.empty else f"{name}={written(p.default)}" for name, p in signature.parameters.items()
        )
        raise TypeError(f"{owner}: {error}; arguments: {', '.join(known)}") from None
    bound.apply_defaults()
    return {
        name: checked(owner, name, x, allowed[name]) if name in allowed else x for name, x in bound.arguments.items()
    }


def numbers(rule: Any) -> dict[str, Number]:
    """The numbers of a rule by name: everything that may be scheduled, overridden and shown as a metric."""
    return {name: getattr(rule, name) for name in ranges(type(rule))}


def resolved(owner: str, rule: Any, step: Any, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a rule at one step: overrides first, then schedules, then constants."""
    values: dict[str, Any] = {}
    for name, allowed in ranges(type(rule)).items():
        value = checked(owner, name, hyper[name], allowed) if name in hyper else getattr(rule, name)
        value = at(value, step)
        if jnp.ndim(value):
            raise ValueError(f"{owner}: {name} must be a scalar, got the shape {jnp.shape(value)}")
        # A constant stays a Python number, so that `1 - b` is computed in double precision, not in float32.
        values[name] = value if isinstance(value, float) else jnp.asarray(value, jnp.float32)
    return values


def in_dtype(rule: Any, dtype: Any) -> Any:
    """A rule with its numbers in one dtype; constants stay Python numbers."""
    values = {name: getattr(rule, name) for name in ranges(type(rule))}
    traced = {name: x.astype(dtype) for name, x in values.items() if not isinstance(x, float)}
    return dataclasses.replace(rule, **traced) if traced else rule


def at(number: Any, step: Any) -> Any:
    """The value of a number at one step, where it may be a schedule."""
    return number(step) if callable(number) else number
