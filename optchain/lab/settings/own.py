"""The table of an object of the user's: its parameters are the keys, typed and checked as ours are."""

import collections.abc
import contextlib
import dataclasses
import enum
import functools
import inspect
import types
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Union, get_args, get_origin

import jax
import numpy as np
import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer, SerializationInfo, ValidationInfo

from optchain.lab.base.errors import InputError
from optchain.lab.settings.parameters import is_plain, parameters_of
from optchain.lab.settings.places import Placed, find, is_place, raised_at, relative
from optchain.lab.settings.table import Place, Table
from optchain.lab.settings.values import Dtype, Function, is_protocol_of_calls

LEFT_OUT = object()  # the default of what is not passed on unless the table says it
PLAIN = bool | int | float | str | list | tuple | dict | None  # defaults that a file may hold, and so shows


class Own(Table):
    """A table whose `use` is a place."""

    use: str
    placed: ClassVar[Placed]
    parameters: ClassVar[dict[str, bool]]  # of the object, and whether each is passed on also where it is None

    @classmethod
    def required(cls) -> list[str]:
        """The keys that the table must have, beside `use`."""
        return [name for name, field in cls.model_fields.items() if field.is_required() and name != "use"]

    @pydantic.model_serializer(mode="wrap")
    def _without_what_is_left_out(
        self, write: pydantic.SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        values = write(self)
        if info.context and "use" in values:
            values["use"] = relative(self.use, info.context["folder"])
        return {name: x for name, x in values.items() if x is not None or self.parameters.get(name, True)}

    def build(self, *given: Any, **more: Any) -> Any:
        """Call the object with what the lab gives, by position and by name, and with the table's own values.

        Raises:
            InputError: naming the place and what the object raised.
        """
        values = {name: getattr(self, name) for name in self.parameters}
        chosen = {name: _built(x) for name, x in values.items() if x is not None or self.parameters[name]}
        try:
            return self.placed.target(*given, **(chosen | more))
        except (InputError, jax.errors.JAXTypeError):  # what cannot be traced may be called elsewhere
            raise
        except Exception as error:
            raise InputError(f"{self.use}: {raised_at(error, self.placed.files)}") from error

    @contextlib.contextmanager
    def blamed(self, key: str) -> Iterator[None]:
        """Errors within are those of the object, and name its key in the configuration, and the line of its file."""
        try:
            yield
        except InputError as error:
            raise InputError(str(error) if str(error).startswith(key) else f"{key}: {error}") from error
        except Exception as error:
            raise InputError(f"{key}: {self.use}: {raised_at(error, self.placed.files)}") from error


def table_of(
    placed: Placed, base: type[Table], given: int | tuple[str, ...] = (), filled: tuple[str, ...] = ()
) -> type[Own]:
    """The table of an object.

    Args:
        placed: the object.
        base: a table whose keys it has too.
        given: what the lab gives and the table has no keys for: parameters by name, or the first ones by their number.
        filled: what the lab gives where the table leaves it out.

    Raises:
        InputError: a parameter that a key cannot stand for.
    """
    try:
        return _table_of(placed.use, placed.target, tuple(sorted(placed.files.items())), base, given, filled)
    except (NameError, TypeError, pydantic.errors.PydanticUserError) as error:
        raise InputError(f"got {placed.use!r}, whose parameters cannot be read: {error}") from error


@functools.cache
def _table_of(
    use: str,
    target: Any,
    files: tuple[tuple[str, str], ...],
    base: type[Table],
    given: int | tuple[str, ...],
    filled: tuple[str, ...],
) -> type[Own]:
    parameters = parameters_of(target, given)
    fields: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if name == "use" or name.startswith(("_", "model_")) or name in vars(Own):
            raise InputError(f"got {use!r}; its parameter {name!r} cannot be a key of a table; give it another name")
        if name not in base.model_fields:
            fields[name] = _field(parameter.replace(default=LEFT_OUT) if name in filled else parameter)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*shadows an attribute.*")  # of pydantic's, such as `copy`
        made: Any = pydantic.create_model(getattr(target, "__name__", use), __base__=(Own, base), **fields)
    table: type[Own] = made
    table.placed = Placed(use, target, dict(files))
    table.parameters = {
        name: name not in filled and (isinstance(p.default, PLAIN) or p.default is p.empty)
        for name, p in parameters.items()
    }
    return table


def _field(parameter: inspect.Parameter) -> tuple[Any, Any]:
    """The type and the default of a key."""
    kind, default = typed(parameter.annotation, parameter.default), parameter.default
    if default is parameter.empty:
        return kind, ...
    if isinstance(default, PLAIN):
        return kind, default
    return Union[kind, None], None  # noqa: UP007, a kind may be no type


def typed(hint: Any, default: Any = inspect.Parameter.empty) -> Any:
    """The type that a value of a file must have for a parameter that is annotated so, or has such a default."""
    empty = inspect.Parameter.empty
    origin, members = get_origin(hint), get_args(hint)
    if hint is empty or hint is Any:
        return (
            Any if default is LEFT_OUT else _typed_by(default) if default is not empty and default is not None else Any
        )
    if origin is Annotated:
        return Annotated[(typed(members[0]), *members[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(typed(member) for member in members)]  # noqa: UP007
    if hint is tuple or origin is tuple:
        inner = tuple[tuple(x if x is Ellipsis else typed(x) for x in members)] if members else tuple
        return Annotated[inner, BeforeValidator(lambda x: tuple(x) if isinstance(x, list) else x)]
    if origin in (list, collections.abc.Sequence):
        return list[typed(members[0])]
    if origin in (dict, collections.abc.Mapping):
        return dict[str, typed(members[1])]
    if hint is Callable or origin is collections.abc.Callable or is_protocol_of_calls(hint):
        return Function
    if not isinstance(hint, type):
        return hint
    if issubclass(hint, enum.Enum):
        return Annotated[hint, Field(strict=False)]
    if issubclass(hint, Path):
        return Place
    if issubclass(hint, np.dtype):
        return Dtype
    if dataclasses.is_dataclass(hint):
        return Annotated[Any, BeforeValidator(functools.partial(_nested, hint)), PlainSerializer(_dumped)]
    if is_plain(hint):
        return hint
    return Annotated[Any, BeforeValidator(functools.partial(_object, hint)), PlainSerializer(_whole)]


def _object(kind: type, value: Any, info: ValidationInfo) -> Any:
    """The table of an object that is made of another place."""
    if isinstance(value, Own | kind):
        return value
    value = {"use": value} if isinstance(value, str) else value
    if not isinstance(value, dict) or not is_place(value.get("use")):
        raise ValueError(f"got {value!r}; expected a table with use, the place of a {kind.__name__}")
    try:
        placed = find(value["use"], Path(info.context["folder"] if info.context else "."))
        return table_of(placed, Table).model_validate(value | {"use": placed.use}, context=info.context)
    except InputError as error:
        raise ValueError(str(error)) from None


def _whole(value: Any) -> Any:
    return value.model_dump(exclude_none=True) if isinstance(value, Own) else value


def _typed_by(default: Any) -> Any:
    """The type of a parameter that says it by its default alone."""
    if isinstance(default, bool | int | float | str):
        return type(default)
    if isinstance(default, type) and issubclass(default, np.generic):
        return Dtype
    return Function if callable(default) else typed(type(default)) if isinstance(default, tuple) else Any


def _nested(kind: type, value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, dict):
        return value
    place = f"{kind.__module__}:{kind.__qualname__}"
    table = table_of(Placed(place, kind, {}), Table)
    return table.model_validate({"use": place} | value, context=info.context)


def _dumped(value: Any, info: SerializationInfo) -> Any:
    return value.model_dump(exclude={"use"}, context=info.context) if isinstance(value, Own) else value


def _built(value: Any) -> Any:
    if isinstance(value, Own):
        return value.build()
    if isinstance(value, Placed):
        return value.target
    return type(value)(map(_built, value)) if isinstance(value, list | tuple) else value
