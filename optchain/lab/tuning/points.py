"""Points of a space that were not drawn from it: given by the user, or of an earlier study."""

from typing import Any

from optchain.core.paths import nearest
from optchain.lab.tuning import space
from optchain.lab.tuning.dimensions import AnyDimension, Choice
from optchain.lab.tuning.numbers import Label


def lies_in(labels: dict[str, Any], dimensions: dict[str, AnyDimension]) -> bool:
    """Whether a point has exactly the dimensions that it must have, and values of theirs."""
    wanted = {name for name, dimension in dimensions.items() if space.holds(dimension, labels)}
    return wanted == labels.keys() and all(has(dimensions[name], label) for name, label in labels.items())


def has(dimension: AnyDimension, label: Any) -> bool:
    """Whether a dimension has a value."""
    if isinstance(dimension, Choice):
        return isinstance(label, Label) and label in dimension.labels
    return isinstance(label, int | float) and not isinstance(label, bool) and dimension.holds(label)


def require_points(points: list[dict[str, Any]], dimensions: dict[str, AnyDimension]) -> None:
    """Points to be tried first are points of the space.

    Raises:
        ValueError: naming the point, the dimension and the value.
    """
    for i, point in enumerate(points):
        for name, label in point.items():
            where = f"search.enqueue[{i}].{name!r}"
            if name not in dimensions:
                raise ValueError(f"{where}: no such dimension; {nearest(name, dimensions)}")
            dimension = dimensions[name]
            if isinstance(dimension, Choice):
                if dimension.label_of(label) is not None:
                    continue
                raise ValueError(f"{where} = {label!r}; {nearest(str(label), map(str, dimension.labels))}")
            if has(dimension, label):
                continue
            number = isinstance(label, int | float) and not isinstance(label, bool)
            cure = f"the nearest value is {dimension.nearest(label):g}" if number else "expected a number"
            raise ValueError(f"{where} = {label!r}; {cure}")


def labels(point: dict[str, Any], dimensions: dict[str, AnyDimension]) -> dict[str, Label]:
    """The labels of a user's point, who may name a choice or give its value."""
    found = {
        name: dimension.label_of(value) if isinstance(dimension := dimensions[name], Choice) else value
        for name, value in point.items()
    }
    return {name: label for name, label in found.items() if label is not None}  # and all are: see `require_points`
