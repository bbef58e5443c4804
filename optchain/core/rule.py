"""What a rule is: the law of one technique for one array, as a frozen dataclass of numbers."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Protocol, TypeVar, dataclass_transform, get_type_hints

import jax
import jax.numpy as jnp
from jax.core import Tracer

from optchain.core.paths import nearest

Scalar = float | jax.Array  # what a law computes with
Number = Scalar | Callable[[jax.Array], jax.Array]  # what a user gives: a scalar, or a schedule of the step


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
Fraction = Annotated[Scalar, Range("[0, 1]")]
Positive = Annotated[Scalar, Range("(0, inf)")]
NonNegative = Annotated[Scalar, Range("[0, inf)")]
Rate = Annotated[Scalar, Range("(-inf, inf)")]

T = TypeVar("T")
Static = Annotated[T, "static"]  # fixed at construction: never traced, scheduled or overridden


class Rule(Protocol):
    """The law of one technique, written for one array.

    Fields annotated with a `Range` (`Decay`, `Positive`, ...) are its numbers: pytree leaves that may be constants,
    traced values or schedules. All other fields are static.

    `core_ndim` tells how many trailing axes one entry of the update looks across: 0 elementwise, 1 rows, 2 matrices,
    None the whole array; or it is a static method from the leaf's rank to one of these. `needs_params` tells whether
    the law reads the parameter. `extras` names extra arguments that `update` is given besides, None where the caller
    has none: scalars, or trees like the updates of which it gets its own leaf; `path` is the leaf's name. `batched`
    tells to run leaves of one shape as one stacked call, `any_rank` that a law of rows takes any number of them itself.

    Rows of a table that a step does not touch may catch up later: `sleep` says what becomes of their slots, None that
    there is no law for it. `shrinks` tells that a gradient of 0 multiplies the parameter by a number that is the same
    for all its entries, and `linear` that the update is such a multiple of the gradient.
    """

    core_ndim: int | None | Callable[[int], int | None]
    needs_params: bool
    extras: tuple[str, ...]
    batched: bool
    any_rank: bool
    shrinks: bool
    linear: bool

    def init(self, p: jax.Array) -> Any:
        """The slots of one parameter: a NamedTuple of arrays, None for one that this parameter has not; or `()`."""
        ...

    def update(self, g: jax.Array, s: Any, p: Any, t: jax.Array, **extras: Any) -> tuple[jax.Array, Any]:
        """The outgoing update and the new slots; `t` counts this link's updates from 1."""
        ...

    def sleep(self, s: Any, k: jax.Array) -> Any:
        """The slots after k updates with a gradient of 0."""
        ...


def unchanged(rule: Any, s: Any, k: jax.Array) -> Any:
    """The `sleep` of a rule for which an update with a gradient of 0 changes nothing."""
    return s


def ranges(definition: Any) -> dict[str, Range]:
    """The range of each numeric field of a rule, or each numeric argument of a function."""
    hints = get_type_hints(definition, include_extras=True)
    found = {
        name: [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, Range)] for name, hint in hints.items()
    }
    return {name: metadata[0] for name, metadata in found.items() if metadata}


def whole(owner: str, name: str, value: Any, least: int) -> int:
    """The value of an argument that counts something; anything but a whole number of at least `least` is an error."""
    if type(value) is not int or value < least:
        raise ValueError(f"{owner}: {name} must be a whole number of at least {least}, got {value!r}")
    return value


def statics(definition: Any) -> dict[str, Any]:
    """The type of each static field of a rule."""
    hints = get_type_hints(definition, include_extras=True).items()
    return {name: hint.__origin__ for name, hint in hints if getattr(hint, "__metadata__", ()) == ("static",)}


@dataclass_transform(frozen_default=True)
def rule(cls: type[T]) -> type[T]:
    """Make a class a rule: a frozen dataclass and a pytree whose leaves are its numbers."""
    defaults = dict.fromkeys(("needs_params", "batched", "any_rank", "shrinks", "linear"), False)
    defaults |= {"core_ndim": 0, "extras": (), "init": lambda self, p: (), "sleep": None}
    for name, default in defaults.items():
        if not hasattr(cls, name):
            setattr(cls, name, default)
    cls = dataclasses.dataclass(frozen=True)(cls)
    names = [field.name for field in dataclasses.fields(cls)]  # pyright: ignore
    numeric, static = ranges(cls), statics(cls)
    for name in names:
        if name not in numeric and name not in static:
            wanted = "a number with its range (Decay, Positive, ...) or Static[...]"
            raise ValueError(f"{cls.__name__}: annotate {name} as {wanted}")
    return jax.tree_util.register_dataclass(cls, list(numeric), list(static))


def core_of(rule: Any, ndim: int) -> int | None:
    """How many trailing axes of a leaf of this rank a rule looks across."""
    return rule.core_ndim(ndim) if callable(rule.core_ndim) else rule.core_ndim


def checked(owner: str, name: str, value: Any, allowed: Range | type) -> Any:
    """The value of one argument; a constant outside its range is an error, schedules and traced values pass."""
    if isinstance(allowed, type):
        if type(value) is not allowed:
            raise ValueError(f"{owner}: {name} must be of type {allowed.__name__}, got {value!r}")
        return value
    if callable(value) or isinstance(value, Tracer):
        return value
    wanted = f"must be a scalar in {allowed.interval} or a schedule"
    if isinstance(value, (str, bool)) or getattr(value, "ndim", 0) != 0 or value is None:
        raise ValueError(f"{owner}: {name} {wanted}, got {value!r}")
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{owner}: {name} {wanted}, got {value!r}") from None
    if number not in allowed:
        raise ValueError(f"{owner}: {name} must lie in {allowed.interval}, got {value}")
    return value if isinstance(value, jax.Array) else number


def constraints(definition: Any) -> dict[str, Range | type]:
    """What each field of a rule may be: a number in a range, or, if static, of a type."""
    return {name: kind for name, kind in statics(definition).items() if isinstance(kind, type)} | ranges(definition)


def bind(
    owner: str, signature: inspect.Signature, allowed: Mapping[str, Range | type], args: Any, kwargs: Any
) -> dict[str, Any]:
    """The arguments of a call by name, defaults included, each checked."""
    for name in kwargs:
        if name not in signature.parameters:
            raise ValueError(f"{owner} has no argument {name!r}; {nearest(name, signature.parameters)}")
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise ValueError(f"{owner}: {error}; arguments: {', '.join(map(str, signature.parameters.values()))}") from None
    bound.apply_defaults()
    return {
        name: checked(owner, name, x, allowed[name]) if name in allowed else x for name, x in bound.arguments.items()
    }


def numbers(rule: Any) -> dict[str, Number]:
    """The numbers of a rule by name: everything that may be scheduled, overridden and shown as a metric."""
    return {name: getattr(rule, name) for name in ranges(type(rule))}


def resolve(rule: Any, step: jax.Array, hyper: dict[str, Any]) -> dict[str, Any]:
    """The numbers of a rule at one step: overrides first, then schedules, then constants."""
    resolved: dict[str, Any] = {}
    value: Any
    for name, value in numbers(rule).items():
        value = hyper.get(name, value)
        value = value(step) if callable(value) else value
        if jnp.ndim(value):
            raise ValueError(f"{type(rule).__name__}: {name} must be a scalar, got the shape {jnp.shape(value)}")
        # A constant stays a Python number, so that `1 - b` is computed in double precision, not in float32.
        resolved[name] = value if isinstance(value, float) else jnp.asarray(value, jnp.float32)
    return resolved
