"""Which cases of a matrix `make test` runs, and which `make test-all` adds."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest


def one_of_each(values: Iterable[Any], kind: Callable[[Any], Hashable] = lambda value: None) -> list[Any]:
    """The values of a parametrization, of which all but the first of each kind are marked `full`.

    Args:
        values: of one argument, or tuples of several.
        kind: of a value; by default all are of one kind.
    """
    seen: set[Hashable] = set()
    found = []
    for value in values:
        own = kind(value)
        further = (value if isinstance(value, tuple) else (value,)) if own in seen else None
        found.append(value if further is None else pytest.param(*further, marks=pytest.mark.full))
        seen.add(own)
    return found
