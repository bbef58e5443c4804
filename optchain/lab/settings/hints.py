"""The annotations of objects by place."""

import contextlib
import inspect
import typing
from typing import Any

import pydantic


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
