"""What every table of a configuration file is."""

from pathlib import Path
from typing import Annotated, Any

import pydantic
from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


def _absolute(path: Any, info: ValidationInfo) -> Any:
    if not isinstance(path, str | Path):
        raise ValueError(f"got {path!r}; expected the path of a file or a folder")
    return Path(info.context["folder"] if info.context else ".", Path(path).expanduser()).resolve()


# Of a file or a folder, relative to the folder of the configuration; kept as an absolute one.
Place = Annotated[Path, BeforeValidator(_absolute), PlainSerializer(str)]


class Table(pydantic.BaseModel):
    """A table of the file: unknown keys and values of another type are errors."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)
