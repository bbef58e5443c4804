"""Declarations: what is said once of a whole transformation and holds in each definition that can hold it."""

import dataclasses
from typing import Any

from optchain.core.transform import Transform
from optchain.core.walk import rewritten


def declared(tx: Any, **fields: Any) -> Transform:
    """The transformation with these fields in every definition that has them, such as `layers` and `views`."""

    def change(link: Any) -> Any:
        names = {field.name for field in dataclasses.fields(link)} & fields.keys()
        return dataclasses.replace(link, **{name: fields[name] for name in names})

    return rewritten(tx, change)
