"""Which cases of a matrix `make test` runs, and which `make test-all` adds."""

from collections.abc import Callable, Hashable, Iterable
from typing import Any

import pytest


def one_of_each(
    values: Iterable[Any],
    kind: Callable[[Any], Hashable] = lambda value: None,
    rest: pytest.MarkDecorator = pytest.mark.full,
) -> list[Any]:
    """The values of a parametrization, of which all but the first of each kind are marked.

    Args:
        values: of one argument, or tuples of several.
        kind: of a value; by default all are of one kind.
        rest: the mark of all but the first; `slow` where a law of `check_laws` holds the same for every technique.
    """
    seen: set[Hashable] = set()
    found = []
    for value in values:
        own = kind(value)
        further = (value if isinstance(value, tuple) else (value,)) if own in seen else None
        found.append(value if further is None else pytest.param(*further, marks=rest))
        seen.add(own)
    return found
