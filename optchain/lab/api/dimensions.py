"""Dimensions of a space from Python."""

from collections.abc import Sequence
from typing import Any

from optchain.lab.tuning.dimensions import Choice
from optchain.lab.tuning.numbers import Float, Int, Log


def choice(values: Sequence[Any] | dict[str, Any]) -> Choice:
    """One of several values, which may have names."""
    return Choice(use="choice", values=values if isinstance(values, dict) else list(values))


def uniform(low: float, high: float, **more: Any) -> Float:
    """The numbers from `low` to `high`, all equally likely."""
    return Float(use="float", low=low, high=high, **more)


def log(low: float, high: float, **more: Any) -> Log:
    """Positive numbers whose logarithms are equally likely."""
    return Log(use="log", low=low, high=high, **more)


def integers(low: int, high: int, **more: Any) -> Int:
    """The whole numbers from `low` to `high`, both included; with `log = True` by their logarithms."""
    return Int(use="int", low=low, high=high, **more)


def first(dimension: Any) -> Any:
    """A value that a dimension has."""
    table = dimension if isinstance(dimension, dict) else dimension.model_dump()
    values = table.get("values")
    if values is not None:
        return next(iter(values.values() if isinstance(values, dict) else values))
    return table.get("low", table.get("mean"))
