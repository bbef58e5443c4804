"""The call that made a transformation, by which a configuration of it is written."""

import copy
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from optchain.core.transform import Transform, transform


@dataclasses.dataclass(frozen=True)
class Call:
    """A technique, and its arguments by name with the defaults."""

    make: Callable[..., Any]
    arguments: Mapping[str, Any]


def remembered(tx: Any, make: Callable[..., Any], arguments: Mapping[str, Any]) -> Any:
    """The transformation with the call that made it; one without a definition as it is.

    The call is not a field of the definition: it does not matter to equality, and a changed definition has none.
    """
    if not isinstance(tx, Transform):
        return tx
    link = copy.copy(tx.link)  # the function may return what it was given, or the same transformation every time
    vars(link)["made_by"] = Call(make, dict(arguments))
    return transform(link)
