"""How sparsity is spread over the parameters."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from optchain.core.numbers import Range, checked
from optchain.core.paths import matches, nearest

DISTRIBUTIONS = ("uniform", "erk", "global")
SPARSITY = Range("[0, 1)")

Distribution = str | Mapping[str, float]


def checked_distribution(distribution: Distribution, sparsity: Any) -> Distribution:
    """The word, or the table of patterns with sparsities in range; anything else is an error."""
    if isinstance(distribution, Mapping):
        owner = "sparse: distribution"
        return {pattern: checked(owner, repr(pattern), x, SPARSITY) for pattern, x in distribution.items()}
    if distribution not in DISTRIBUTIONS:
        expected = f"one of {', '.join(DISTRIBUTIONS)}, or a table from patterns on paths to sparsities"
        near = nearest(str(distribution), DISTRIBUTIONS)
        raise ValueError(f"sparse: distribution is {distribution!r}; expected {expected}; {near}")
    if distribution == "erk" and not isinstance(sparsity, float):
        raise ValueError(f"sparse: distribution 'erk' takes a constant sparsity, got {sparsity!r}")
    return distribution


def densities(
    distribution: Distribution, sparsity: Any, paths: Sequence[str], shapes: Sequence[Any], sizes: Sequence[int]
) -> list[Any]:
    """The part of each parameter that is kept.

    Args:
        distribution: how; `"global"` has no answer by parameters.
        sparsity: the part of all entries that is pruned, or of those that no pattern of the table matches.
        paths: the names of the parameters.
        shapes: their shapes, those of single layers where they are stacked.
        sizes: their entries, those of all layers.

    Raises:
        ValueError: a pattern of the table that matches none of them.
    """
    if isinstance(distribution, Mapping):
        for pattern in distribution:
            if paths and not any(matches(path, pattern) for path in paths):
                raise ValueError(f"sparse: distribution {pattern!r} matches no parameter; {nearest(pattern, paths)}")
        table = distribution.items()
        return [1 - next((x for pattern, x in table if matches(path, pattern)), sparsity) for path in paths]
    return _erk(1 - sparsity, shapes, sizes) if distribution == "erk" else [1 - sparsity] * len(paths)


def _erk(density: float, shapes: Sequence[Any], sizes: Sequence[int]) -> list[float]:
    """Densities in proportion to the sum of a shape over its product, none above 1."""
    raw = [max(sum(shape), 1) / max(math.prod(shape), 1) for shape in shapes]
    full: set[int] = set()
    while True:
        free = [i for i in range(len(raw)) if i not in full]
        budget = density * sum(sizes) - sum(sizes[i] for i in full)
        factor = budget / max(sum(raw[i] * sizes[i] for i in free), 1e-30)
        # What one that is full leaves over goes to the others, and can only bring more of them above 1.
        above = {i for i in free if factor * raw[i] > 1}
        if not above:
            return [1.0 if i in full else factor * raw[i] for i in range(len(raw))]
        full |= above
