"""What the text of a `use` names: a function of optchain, one of optax, or an object at a place in a user's file."""

import inspect
import re
import sys
import typing
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import optax

from optchain.core.mask import Without
from optchain.core.numbers import Range
from optchain.core.paths import nearest
from optchain.core.registry import registered
from optchain.inspect.annotations import hints

Resolve = Callable[[str], Any]  # from a place to the object that stands there

FILE = r"[^\s:*]+\.py"
MODULE = r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*"
NAME = MODULE
OURS = r"optchain(?:\.[A-Za-z_]\w*)*"


class Takes(NamedTuple):
    """What an argument may be besides plain data."""

    function: bool
    transformation: bool


def without(other: Any, mask: Any = None) -> Without:
    """A mask without another one; left out, `mask` stands for all."""
    return Without(mask, other)


def named(use: str, path: str, resolve: Resolve | None) -> Any:
    """The function that a `use` names, or what stands at its place.

    Raises:
        ValueError: an unknown name, or a place that cannot be resolved; the message begins with the dotted path.
    """
    if ":" in use:
        return at_place(use, path, resolve)
    module, dot, rest = use.partition(".")
    if dot and module == "optax":
        functions = {**_factories(optax.contrib), **_factories(optax)}
        rest = rest.removeprefix("contrib.")
    else:
        functions, rest = {key: entry.make for key, entry in registered().items()} | {"Without": without}, use
    if rest not in functions:
        raise ValueError(f"{path}: there is no technique {use!r}; {nearest(rest, functions)}")
    return functions[rest]


def at_place(place: str, path: str, resolve: Resolve | None) -> Any:
    """The object at a place.

    Raises:
        ValueError: there is none, or nothing resolves places; the message begins with the dotted path.
    """
    module, _, name = place.rpartition(":")
    if re.fullmatch(OURS, module):
        if module not in sys.modules:
            raise ValueError(f"{path}: optchain has no module {module!r}")
        there = vars(sys.modules[module])
        if name not in there:
            raise ValueError(f"{path}: {module} has no {name!r}; {nearest(name, there)}")
        return there[name]
    if resolve is None:
        cure = "places are resolved by the lab (the command optchain), or by the argument resolve= of from_config"
        raise ValueError(f"{path}: {place!r} is a place in a file or module; {cure}")
    try:
        return resolve(place)
    except (ValueError, ImportError, AttributeError, OSError) as error:
        raise ValueError(f"{path}: {error}") from error


def is_place(text: str, resolve: Resolve | None) -> bool:
    """Whether a text that may be a pattern on paths is a place instead.

    Without `resolve` only places in files and in optchain are: a pattern may look like any other one.
    """
    module = MODULE if resolve is not None else OURS
    return re.fullmatch(f"(?:{FILE}|{module}):{NAME}", text) is not None


def parameters(make: Callable[..., Any], use: str, path: str) -> dict[str, inspect.Parameter]:
    """The arguments of a function that a `use` names.

    Raises:
        ValueError: it is not a function, or has arguments that cannot be given by name.
    """
    try:
        known = dict(inspect.signature(make).parameters)
    except (TypeError, ValueError):
        expected = "expected a technique, a schedule, or a function that returns one"
        raise ValueError(f"{path}.use: {use!r} is {make!r}; {expected}") from None
    for name, parameter in known.items():
        if parameter.kind is parameter.POSITIONAL_ONLY:
            raise ValueError(f"{path}.use: {use} takes {name!r} by position only; a table gives arguments by name")
    return known


def missing(known: dict[str, inspect.Parameter], given: dict[str, Any]) -> list[str]:
    """The names of the arguments that a call needs and that are not given."""
    variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in known.items() if p.default is p.empty and p.kind not in variadic and name not in given]


def takes(make: Callable[..., Any]) -> Callable[[str], Takes]:
    """From the name of an argument to what it may be; one without a type hint may be a function."""
    entry = registered().get(getattr(make, "__name__", ""))
    try:
        known = hints(make) if entry and entry.make is make else typing.get_type_hints(make, include_extras=True)
    except (NameError, TypeError, AttributeError):  # hints of names that only a type checker imports
        known = {}

    def of(name: str) -> Takes:
        within = list(_within(known.get(name, Any)))
        function = any(Callable in (x, typing.get_origin(x)) or x is Any or isinstance(x, Range) for x in within)
        transformations = [x for x in within if isinstance(x, type) and issubclass(x, optax.GradientTransformation)]
        return Takes(function, name == "tx" or bool(transformations))

    return of


def _within(hint: Any) -> Iterator[Any]:
    """A type hint, and all that it is made of."""
    yield hint
    yield from getattr(hint, "__metadata__", ())
    for part in typing.get_args(hint):
        yield from _within(part)


def _factories(module: Any) -> dict[str, Callable[..., Any]]:
    return {name: x for name, x in vars(module).items() if inspect.isfunction(x) and not name.startswith("_")}
