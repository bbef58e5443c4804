"""Declarations: what is said once of a whole transformation and holds in each of its links."""

import dataclasses
from typing import Any

from optchain.core.dense import Dense
from optchain.core.transform import Transform, transform


def declared(x: Any, **fields: Any) -> Any:
    """A transformation, or what holds some, with these fields in every link that has them."""
    if isinstance(x, Transform):
        return transform(declared(x.link, **fields))
    if type(x) is tuple:
        return tuple(declared(item, **fields) for item in x)
    if not dataclasses.is_dataclass(x) or isinstance(x, type):
        return x
    if isinstance(x, Dense):
        return dataclasses.replace(x, **fields)
    own = {field.name: declared(getattr(x, field.name), **fields) for field in dataclasses.fields(x)}
    return dataclasses.replace(x, **own | {name: value for name, value in fields.items() if name in own})
