"""The parameters of objects by place, and their annotations."""

import contextlib
import dataclasses
import functools
import inspect
import typing
from typing import Any

import pydantic


def parameters_of(target: Any, given: int | tuple[str, ...] = ()) -> dict[str, inspect.Parameter]:
    """The parameters of an object that a table may set, with their types for annotations."""
    # A metaclass that says itself how its classes are called, as that of nnx.Module, hides the parameters.
    hidden = inspect.isclass(target) and type(target).__call__ is not type.__call__
    called = target.__init__ if hidden else target
    dataclass = dataclasses.is_dataclass(target) and inspect.isclass(target)
    kinds = inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD
    parameters = {name: p for name, p in inspect.signature(called).parameters.items() if p.kind not in kinds}
    if hidden:
        parameters.pop(next(iter(parameters)))
    names = set(list(parameters)[:given]) if isinstance(given, int) else set(given)
    hints = hints_of(target if dataclass else _annotated(target))
    return {name: p.replace(annotation=hints.get(name, p.empty)) for name, p in parameters.items() if name not in names}


def _annotated(target: Any) -> Any:
    """The function whose annotations are those of an object's parameters."""
    if isinstance(target, functools.partial):
        return _annotated(target.func)
    if inspect.isclass(target):
        return target.__init__
    return target if inspect.isroutine(target) else type(target).__call__


def hints_of(annotated: Any) -> dict[str, Any]:
    """The annotations; without those that name what only type checkers import."""
    try:
        return typing.get_type_hints(annotated, include_extras=True)
    except NameError:
        known, space = {}, vars(inspect.getmodule(inspect.unwrap(annotated)) or typing)
        for name, hint in inspect.get_annotations(inspect.unwrap(annotated)).items():
            with contextlib.suppress(NameError):
                known[name] = eval(hint, dict(space)) if isinstance(hint, str) else hint
        return known


def is_plain(hint: type) -> bool:
    """Whether a file can hold such a value."""
    try:
        pydantic.TypeAdapter(hint)
    except pydantic.PydanticSchemaGenerationError:
        return False
    return True
