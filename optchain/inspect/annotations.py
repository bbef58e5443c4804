"""Type hints of the public functions as the text that a stub has for them."""

import types
import typing
from collections.abc import Callable
from typing import Annotated, Any

import jax

from optchain.core.mask import Mask
from optchain.core.numbers import Number, Range, Scalar
from optchain.core.registry import registered

JAX_ARRAY = "jax.Array"


class Imports(dict[str, set[str]]):
    """The names that a stub imports, by module; those of modules that are imported whole stand under the empty name."""

    def of(self, module: str, name: str) -> str:
        """The name, imported."""
        self.setdefault(module, set()).add(name)
        return name

    def whole(self, module: str) -> str:
        """The module, imported."""
        return self.of("", module)


def hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The hint of each argument of a public function, with its range; those of a technique stand in its rule."""
    rule = registered()[function.__name__].rule
    if rule is None:
        return typing.get_type_hints(function, include_extras=True)
    return {**typing.get_type_hints(rule, include_extras=True), "mask": Mask | None}


def text(hint: Any, imports: Imports) -> str:
    """A hint as text; what it names is added to the imports."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        # A constant with a range is what a law computes with; the user may give a schedule in its place.
        ranged = any(isinstance(x, Range) for x in hint.__metadata__)
        return text(_scheduled(arguments[0]) if ranged else arguments[0], imports)
    if origin in (types.UnionType, typing.Union):
        return " | ".join(_members(hint, imports))
    if arguments and origin is not None:
        return f"{_named(origin, imports)}[{', '.join(_argument(x, imports) for x in arguments)}]"
    return _named(hint, imports)


def _scheduled(hint: Any) -> Any:
    """A hint in which each scalar may be a schedule."""
    members = _flat(hint)
    if members >= _flat(Scalar):
        rest = [x for x in typing.get_args(hint) if x not in _flat(Scalar)]
        return typing.Union[(Number, *rest)]  # noqa: UP007
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    return origin[tuple(map(_scheduled, arguments))] if arguments and origin is not None else hint


def _flat(hint: Any) -> set[Any]:
    """The members of a union; of any other hint, itself."""
    return set(typing.get_args(hint)) if typing.get_origin(hint) in (types.UnionType, typing.Union) else {hint}


def _members(hint: Any, imports: Imports) -> list[str]:
    """The members of a union as text, those of a known one under its name."""
    members, aliases = list(typing.get_args(hint)), []
    for name, known in (("Mask", Mask), ("Number", Number)):
        if set(members) >= _flat(known):
            members = [x for x in members if x not in _flat(known)]
            aliases.append(imports.of("optchain.typing", name))
    return [*aliases, *(text(x, imports) for x in members)]


def _argument(hint: Any, imports: Imports) -> str:
    """An argument of a generic; that of a callable may be a list."""
    if isinstance(hint, list):
        return f"[{', '.join(text(x, imports) for x in hint)}]"
    return "..." if hint is Ellipsis else text(hint, imports)


def _named(hint: Any, imports: Imports) -> str:
    if hint in (None, types.NoneType):
        return "None"
    if hint is jax.Array:
        imports.whole("jax")
        return JAX_ARRAY
    module, name = hint.__module__, getattr(hint, "__name__", str(hint))
    if module == "builtins":
        return name
    if module.split(".")[0] == "optax":  # whose modules are private
        imports.whole("optax")
        return f"optax.{name}"
    return imports.of(module, name)
