"""The part of a leaf's entries that is sent."""

from typing import Any


def checked_density(owner: str, density: Any) -> None:
    """A density is a number in (0, 1]; all else is an error."""
    if not 0 < density <= 1:
        raise ValueError(f"{owner}: density must lie in (0, 1], got {density}")


def count(density: float, size: int) -> int:
    """How many entries of a leaf are sent, at least one."""
    return min(size, max(1, round(density * size)))
