"""Declared layer axes: which leading axes of a leaf only count layers, as in a scanned model."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from optchain.core.holes import is_hole
from optchain.core.paths import matches, named_leaves, nearest

Layers = str | Sequence[str] | Mapping[str, int] | Callable[[str, jax.Array], int]


def depths(layers: Layers | None, tree: Any) -> list[int]:
    """How many leading axes of each leaf count layers; the first pattern that matches decides.

    Raises:
        ValueError: a pattern that matches no leaf, not even one that is left out here; more axes than a leaf has.
    """
    if layers is None:
        return [0] * len(jax.tree.leaves(tree))
    leaves = named_leaves(tree, is_hole)
    present = [(path, x) for path, x in leaves if not is_hole(x)]
    if callable(layers):
        counts = [int(layers(path, x)) for path, x in present]
    else:
        table = _table(layers)
        for pattern in table if leaves else ():
            if not any(matches(path, pattern) for path, _ in leaves):
                near = nearest(pattern, [path for path, _ in leaves])
                raise ValueError(f"layers {pattern!r} match no parameter; {near}")
        counts = [next((n for pattern, n in table.items() if matches(path, pattern)), 0) for path, _ in present]
    for n, (path, x) in zip(counts, present, strict=True):
        if not 0 <= n <= x.ndim:
            raise ValueError(f"layers: leaf {path!r} of shape {x.shape} cannot have {n} layer axes")
    return counts


def _table(layers: Any) -> dict[str, int]:
    if isinstance(layers, Mapping):
        return dict(layers)
    return dict.fromkeys([layers] if isinstance(layers, str) else layers, 1)
