"""Tables of which there are several kinds: built in, by name, or the user's own, by place."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
from pydantic import GetCoreSchemaHandler, SerializationInfo, ValidationInfo
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from optchain.core.paths import nearest
from optchain.lab.base.errors import InputError
from optchain.lab.settings.own import Own, table_of
from optchain.lab.settings.places import Placed, find, is_place
from optchain.lab.settings.table import Table

Given = int | tuple[str, ...]


class Kinds:
    """The type of a table whose `use` says of which kind it is; used as `Annotated[Any, Kinds(...)]`.

    Args:
        what: the table describes, for errors.
        kinds: the built-in ones by name.
        base: the table whose keys an object of the user's has beside its parameters; None if only built-in ones exist.
        given: what the lab gives to an object of the user's, or a function from the object to that; and
        filled: what it gives where the table does not say it, see `table_of`.
        default: the name where there is no `use`.
        by_keys: whether a table without `use` is of the first kind that has its keys.
        otherwise: a type that may stand in the place of the table, such as that of a number.
    """

    def __init__(
        self,
        what: str,
        kinds: dict[str, type[Table]],
        base: type[Table] | None = None,
        given: Given | Callable[[Any], Given] = (),
        filled: tuple[str, ...] = (),
        default: str | None = None,
        otherwise: Any = None,
        by_keys: bool = False,
    ) -> None:
        self.what, self.kinds, self.base, self.default = what, kinds, base, default
        self.given, self.filled, self.by_keys = given, filled, by_keys
        self.otherwise = None if otherwise is None else pydantic.TypeAdapter(otherwise)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        dump = core_schema.plain_serializer_function_ser_schema(_dumped, info_arg=True)
        return core_schema.with_info_plain_validator_function(self._validated, serialization=dump)

    def _validated(self, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Table) or (value is None and self.default is None and self.otherwise is not None):
            return value
        if not isinstance(value, dict):
            if self.otherwise is None:
                raise PydanticCustomError("table", "got {value}; expected a table", {"value": repr(value)})
            return self.otherwise.validate_python(value, strict=True)
        kind = self._kind(value.get("use", self._default(value)), info)
        whole = {"use": kind.placed.use} if issubclass(kind, Own) else {}  # relative to no folder any more
        return kind.model_validate(value | whole, context=info.context)

    def _default(self, value: dict[str, Any]) -> str | None:
        """The kind where there is no `use`: with `by_keys` the first that has all keys of a table, or the most."""
        if not self.by_keys or self.default is None:
            return self.default
        kinds = [self.default, *self.kinds]
        return max(kinds, key=lambda name: sum(_fits(key, self.kinds[name]) for key in value))

    def table(self, placed: Placed) -> type[Own]:
        """The table of an object of the user's.

        Raises:
            InputError: see `table_of`.
        """
        given = self.given(placed.target) if callable(self.given) else self.given
        return table_of(placed, self.base or Table, given, self.filled)

    def _kind(self, use: Any, info: ValidationInfo) -> type[Table]:
        hint = "" if self.base is None else ", or 'file.py:Name' for one of your own"
        if use is None:
            raise self._at_use("missing_kind", f"missing; {nearest('', self.kinds)}{hint}", use)
        if use in self.kinds:
            return self.kinds[use]
        if self.base is None or not is_place(use):
            near = nearest(str(use), self.kinds)
            near = f"{near[:-1]}{hint}?" if near.endswith("?") else f"{near}{hint}"
            raise self._at_use("unknown", f"got {use!r}; {near}", use)
        try:
            return self.table(find(use, Path(info.context["folder"] if info.context else ".")))
        except InputError as error:
            raise self._at_use("place", str(error), use) from None

    def _at_use(self, kind: str, message: str, use: Any) -> pydantic.ValidationError:
        error = PydanticCustomError(kind, "{message}", {"message": message})  # type: ignore[arg-type]
        return pydantic.ValidationError.from_exception_data(
            self.what, [InitErrorDetails(type=error, loc=("use",), input=use)]
        )


def _fits(key: str, kind: type[Table]) -> float:
    """Whether a table has a key, or nearly."""
    names = list(kind.model_fields)
    return 1.0 if key in names else 0.5 * bool(difflib.get_close_matches(key, names, 1))


def _dumped(value: Any, info: SerializationInfo) -> Any:
    return value.model_dump(exclude_none=info.exclude_none, context=info.context) if isinstance(value, Table) else value
