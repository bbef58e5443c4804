"""What every table of a configuration file is."""

from typing import Annotated

import pydantic
from pydantic import Field

Fraction = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]


class Table(pydantic.BaseModel):
    """A table of the file: unknown keys and values of another type are errors."""

    model_config = pydantic.ConfigDict(strict=True, extra="forbid", frozen=True)
