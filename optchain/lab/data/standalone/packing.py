"""Objects of this package as plain data and arrays, and back."""

import dataclasses
from typing import Any

import numpy as np

from . import answers, columns, inputs, steps, texts

OF = "of"  # the key under which a table says of which class it is
PARTS: dict[str, Any] = {
    name: kind
    for module in (answers, columns, inputs, steps, texts)
    for name, kind in vars(module).items()
    if dataclasses.is_dataclass(kind)
}


def is_part(x: Any) -> bool:
    """Whether something is of a class of this package."""
    return type(x) in PARTS.values()


def packed(x: Any, arrays: dict[str, np.ndarray], at: str = "") -> Any:
    """Plain data, as JSON has it, and the arrays that it names.

    Args:
        x: a dataclass of this package, or data that holds some.
        arrays: to which the arrays are added, by the place where they stand.
        at: that place.

    Raises:
        TypeError: something is neither plain nor of this package, with the place.
    """
    if isinstance(x, np.ndarray):
        arrays[at] = x
        return {OF: "array", "name": at}
    if is_part(x):
        fields = {field.name: getattr(x, field.name) for field in dataclasses.fields(x)}
        return {OF: type(x).__name__} | {name: packed(value, arrays, f"{at}/{name}") for name, value in fields.items()}
    if isinstance(x, dict):
        return {name: packed(value, arrays, f"{at}/{name}") for name, value in x.items()}
    if isinstance(x, list | tuple):
        return [packed(value, arrays, f"{at}/{i}") for i, value in enumerate(x)]
    if isinstance(x, str | int | float | bool | None):
        return x
    raise TypeError(at)


def unpacked(x: Any, arrays: Any) -> Any:
    """What was packed."""
    if isinstance(x, list):
        return [unpacked(value, arrays) for value in x]
    if not isinstance(x, dict):
        return x
    fields = {name: unpacked(value, arrays) for name, value in x.items() if name != OF}
    if OF not in x:
        return fields
    return arrays[fields["name"]] if x[OF] == "array" else PARTS[x[OF]](**fields)
