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
    """Enter a function by its name. A user's own never takes the place of a built-in one."""
    name = entry.make.__name__
    if name not in _REGISTRY or not _REGISTRY[name].is_builtin:
        _REGISTRY[name] = entry


def registered() -> Mapping[str, Registered]:
    """All entries by name."""
    return _REGISTRY
