"""Which leaves a link applies to: True where it does."""

import dataclasses
import fnmatch
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.paths import nearest, path_of

Mask = str | Sequence[str] | Callable[[str, jax.Array], bool] | Any


def is_matrix(path: str, p: jax.Array) -> bool:
    """A predicate for masks: kernels and embeddings, but no biases, scales or other vectors."""
    return p.ndim >= 2


def is_kernel(path: str, p: jax.Array) -> bool:
    """A predicate for masks that knows stacked biases and scales by their names: what `is_matrix` takes but those."""
    return p.ndim >= 2 and path.rpartition("/")[2] not in ("bias", "scale")


@dataclasses.dataclass(frozen=True)
class Without:
    """A mask: what `mask` chooses (None: everything), without what `other` chooses."""

    mask: Any
    other: Any

    def over(self, tree: Any) -> list[bool]:
        """One bool for each leaf."""
        return [a and not b for a, b in zip(select(self.mask, tree), select(self.other, tree), strict=True)]


def select(mask: Mask | None, tree: Any) -> list[bool]:
    """One bool for each leaf of the tree, in order.

    A mask is a pattern on paths (`"*/kernel"`, where `*` crosses slashes) or several, a predicate of (path, leaf), or a
    tree of bools in which each parameter is found by its path, whatever the containers, or one mask `Without` another.

    Raises:
        ValueError: a pattern that matches no leaf, a predicate or tree that does not give one bool for each leaf.
    """
    leaves = jax.tree.leaves_with_path(tree)
    paths = [path_of(path) for path, _ in leaves]
    if mask is None or not leaves:
        return [True] * len(leaves)
    if isinstance(mask, str) or (isinstance(mask, (list, tuple)) and mask and all(isinstance(m, str) for m in mask)):
        patterns = [mask] if isinstance(mask, str) else list(mask)
        for pattern in patterns:
            if not any(matches(path, pattern) for path in paths):
                raise ValueError(f"mask {pattern!r} matches no parameter; {nearest(pattern, paths)}")
        return [any(matches(path, pattern) for pattern in patterns) for path in paths]
    if isinstance(mask, Without):
        return mask.over(tree)
    if callable(mask):
        values = [_call(mask, path, leaf) for path, (_, leaf) in zip(paths, leaves, strict=True)]  # pyright: ignore
    else:
        values = _tree(mask, paths)
    for path, value in zip(paths, values, strict=True):
        if not isinstance(value, (bool, np.bool)) and not (
            jnp.shape(value) == () and jnp.result_type(value) == jnp.bool
        ):
            raise ValueError(f"mask gives {value!r} for parameter {path!r}; wanted one bool for the whole leaf")
    return [bool(value) for value in values]


def matches(path: str, pattern: str) -> bool:
    """Whether a path is, or fits, a pattern, in which `*` crosses slashes."""
    return path == pattern or fnmatch.fnmatchcase(path, pattern)


def _call(predicate: Callable[[str, jax.Array], bool], path: str, leaf: jax.Array) -> bool:
    try:
        return predicate(path, leaf)
    except TypeError as error:
        hint = "a predicate takes (path, leaf); pass what a function of the whole tree returns, not the function"
        raise ValueError(f"mask fails for parameter {path!r}: {error}; {hint}") from error


def _tree(mask: Any, paths: list[str]) -> list[Any]:
    found = {path_of(path): x for path, x in jax.tree.leaves_with_path(mask)}
    for path in paths:
        if path not in found:
            raise ValueError(f"mask has no leaf {path!r}; {nearest(path, found)}")
    return [found[path] for path in paths]
