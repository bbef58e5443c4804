"""The techniques, schedules and mask schedules that have been made, by name: what `inspect` and configurations find."""

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

TECHNIQUE, SCHEDULE, MASK_SCHEDULE = "technique", "schedule", "mask schedule"


@dataclasses.dataclass(frozen=True)
class Registered:
    """A public function and what it makes.

    `example` are arguments for those without a default, with which the function can be tried; `rule` is the class of
    the law that a technique runs, None for one that is written by hand.
    """

    make: Callable[..., Any]
    kind: str
    example: Mapping[str, Any]
    rule: type | None = None

    @property
    def is_builtin(self) -> bool:
        """Whether it is one of optchain's own, which are those that it exports."""
        return vars(sys.modules["optchain"]).get(self.make.__name__) is self.make


_REGISTRY: dict[str, Registered] = {}


def register(entry: Registered) -> None:
    """Enter a function by its name; a later one of the same name takes its place, as when a file is loaded again.

    Raises:
        ValueError: the name of a built-in function, for one of another package: states and configurations would take
            the one for the other.
    """
    name, module = entry.make.__name__, entry.make.__module__
    taken = _REGISTRY[name] if name in _REGISTRY and _REGISTRY[name].is_builtin else None
    if taken is None:
        _REGISTRY[name] = entry
    elif module.partition(".")[0] != "optchain":
        raise ValueError(f"{name!r} of {module} is the name of a built-in {taken.kind}; choose another name")


def registered() -> Mapping[str, Registered]:
    """All entries by name."""
    return _REGISTRY
