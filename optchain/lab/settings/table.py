"""What every table of a configuration file is."""

import os
from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer, SerializationInfo, ValidationInfo
from pydantic_core import InitErrorDetails, PydanticCustomError

from optchain.core.paths import nearest

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


def _absolute(path: Any, info: ValidationInfo) -> Any:
    if not isinstance(path, str | Path):
        raise ValueError(f"got {path!r}; expected the path of a file or a folder")
    return Path(info.context["folder"] if info.context else ".", Path(path).expanduser()).resolve()


def _written(path: Path, info: SerializationInfo) -> str:
    return relative_path(path, info.context["folder"]) if info.context else str(path)


def relative_path(path: Path | str, folder: Path) -> str:
    """A whole path as it is from a folder, so that both can be moved together."""
    return Path(os.path.relpath(path, folder.resolve())).as_posix()


# Of a file or a folder, relative to the folder of the configuration; kept as an absolute one.
Place = Annotated[Path, BeforeValidator(_absolute), PlainSerializer(_written)]


class Table(pydantic.BaseModel):
    """A table of the file: unknown keys and values of another type are errors."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)

    @pydantic.model_validator(mode="before")
    @classmethod
    def _known(cls, data: Any) -> Any:
        unknown = [key for key in data if key not in cls.model_fields] if isinstance(data, dict) else []
        if unknown:
            errors = [_unknown(key, data[key], list(cls.model_fields)) for key in unknown]
            raise pydantic.ValidationError.from_exception_data(cls.__name__, errors)
        return data

    def written(self, folder: Path, **more: Any) -> dict[str, Any]:
        """The table for a file in a folder: paths and places are relative to it."""
        return self.model_dump(context={"folder": folder}, **more)


def _unknown(key: str, value: Any, keys: list[str]) -> InitErrorDetails:
    said = {"message": f"unknown key; {nearest(str(key), keys)}"}
    return InitErrorDetails(type=PydanticCustomError("unknown", "{message}", said), loc=(key,), input=value)
