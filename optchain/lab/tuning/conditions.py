"""Which dimensions of a space a trial has, and that no two of them vary the same."""

import itertools
from typing import Any

from optchain.core.paths import nearest
from optchain.lab.tuning.dimensions import AnyDimension, Choice


def require_conditions(name: str, dimension: AnyDimension, earlier: dict[str, AnyDimension]) -> None:
    for other, wanted in dimension.when.items():
        if other not in earlier:
            raise ValueError(
                f"space.{name!r}: when {other!r}, which does not come before it; {nearest(other, earlier)}"
            )
        if wanted == []:
            raise ValueError(f"space.{name!r}: when {other!r} is one of no values; expected one at least")
        labels = earlier[other].labels if isinstance(earlier[other], Choice) else None
        for label in wanted if isinstance(wanted, list) else [wanted]:
            if labels is not None and label not in labels:
                raise ValueError(
                    f"space.{name!r}: when {other!r} is {label!r}; {nearest(str(label), map(str, labels))}"
                )


def require_own(name: str, key: str, space: dict[str, AnyDimension]) -> None:
    """A dimension varies what it may, and nothing that another varies in the same trial."""
    if key == "train.seed":
        raise ValueError(f"space.{name!r}: every trial has a seed of its own; search.seeds gives it several")
    if key.partition(".")[0] == "task":
        raise ValueError(f"space.{name!r}: trials that are judged by other examples cannot be compared")
    for other in itertools.takewhile(lambda other: other != name, space):
        theirs = space[other].path or other
        if f"{theirs}.".startswith(f"{key}.") and not _exclude(_conditions(name, space), _conditions(other, space)):
            cure = "expected one of the two" if theirs == key else "expected the table first"
            raise ValueError(f"space.{name!r}: {other!r} varies {theirs} in the same trials; {cure}")


def _conditions(name: str, space: dict[str, AnyDimension]) -> dict[str, list[Any]]:
    """The values that earlier dimensions must have for one to hold, those of its conditions' own conditions too."""
    conditions: dict[str, list[Any]] = {}
    for other, wanted in space[name].when.items():
        condition = {other: wanted if isinstance(wanted, list) else [wanted]}
        for key, values in (_conditions(other, space) | condition).items():
            conditions[key] = [x for x in values if x in conditions.get(key, values)]
    return conditions


def _exclude(a: dict[str, list[Any]], b: dict[str, list[Any]]) -> bool:
    """Whether two dimensions' conditions never hold together."""
    return any(not any(x in b[name] for x in wanted) for name, wanted in a.items() if name in b)
