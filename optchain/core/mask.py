"""Which leaves a link applies to: True where it does."""

import dataclasses
import fnmatch
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.holes import is_hole
from optchain.core.paths import nearest, path_of


class Dataclass(Protocol):
    """An instance of any dataclass, such as a module of parameters; `Without` is one too."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


# Which leaves: patterns on paths, a predicate of (path, leaf), or a tree of bools, of which a single bool is the least.
Mask = str | Sequence[Any] | Mapping[Any, Any] | Callable[[str, jax.Array], bool] | Dataclass | bool


def is_matrix(path: str, p: jax.Array) -> bool:
    """A predicate for masks: kernels and embeddings, but no biases, scales or other vectors.

    Args:
        path: of the leaf, its keys joined by slashes.
        p: the leaf.
    """
    return p.ndim >= 2


def is_kernel(path: str, p: jax.Array) -> bool:
    """A predicate for masks that knows stacked biases and scales by their names: what `is_matrix` takes but those.

    Args:
        path: of the leaf, its keys joined by slashes.
        p: the leaf.
    """
    return p.ndim >= 2 and path.rpartition("/")[2] not in ("bias", "scale")


@dataclasses.dataclass(frozen=True)
class Without:
    """A mask: what one mask chooses, without what another one chooses.

    Args:
        mask: chooses; None for everything.
        other: takes away.
    """

    mask: Any
    other: Any

    def __str__(self) -> str:
        return f"{'all' if self.mask is None else label(self.mask)} but {label(self.other)}"

    def over(self, tree: Any) -> list[bool]:
        """One bool for each leaf."""
        return [a and not b for a, b in zip(select(self.mask, tree), select(self.other, tree), strict=True)]


def label(mask: Mask) -> str:
    """The name of a mask: its pattern, or the name of its predicate."""
    if isinstance(mask, (list, tuple)):
        return " ".join(map(str, mask))
    return mask.__name__ if inspect.isfunction(mask) else mask if isinstance(mask, str) else str(mask)


def select(mask: Mask | None, tree: Any) -> list[bool]:
    """One bool for each leaf of the tree, in order.

    A mask is a pattern on paths (`"*/kernel"`, where `*` crosses slashes) or several, a predicate of (path, leaf), or a
    tree of bools in which each parameter is found by its path, whatever the containers, or one mask `Without` another.

    Raises:
        ValueError: a pattern that matches no leaf, a predicate or tree that does not give one bool for each leaf.
    """
    if mask is None:
        return [True] * len(jax.tree.leaves(tree))
    # A pattern may match what has been left out before: it is the name of a parameter all the same.
    present = [(path_of(path), x) for path, x in jax.tree.leaves_with_path(tree, is_leaf=is_hole)]
    leaves = [(path, x) for path, x in present if not is_hole(x)]
    paths = [path for path, _ in leaves]
    patterns = _patterns(mask)
    if patterns is not None:
        for pattern in patterns if present else ():
            if not any(matches(path, pattern) for path, _ in present):
                raise ValueError(f"mask {pattern!r} matches no parameter; {nearest(pattern, [p for p, _ in present])}")
        return [any(matches(path, pattern) for pattern in patterns) for path in paths]
    if not leaves:
        return []
    if isinstance(mask, Without):
        return mask.over(tree)
    if callable(mask):
        values = [_call(mask, path, leaf) for path, leaf in leaves]
    else:
        values = _tree(mask, paths)
    for path, value in zip(paths, values, strict=True):
        if not isinstance(value, (bool, np.bool)) and not (
            jnp.shape(value) == () and jnp.result_type(value) == jnp.bool
        ):
            raise ValueError(f"mask gives {value!r} for parameter {path!r}; expected one bool for the whole leaf")
    return [bool(value) for value in values]


def chooses(mask: Any, path: str, leaf: Any) -> bool:
    """Whether a mask chooses a leaf that stands outside of the tree; a pattern need not match it."""
    patterns = _patterns(mask)
    return select(mask, {path: leaf})[0] if patterns is None else any(matches(path, pattern) for pattern in patterns)


def _patterns(mask: Any) -> list[str] | None:
    """The patterns that a mask consists of, None for one that is something else."""
    if isinstance(mask, str):
        return [mask]
    if isinstance(mask, (list, tuple)) and mask and all(isinstance(pattern, str) for pattern in mask):
        return list(mask)
    return None


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
    leaves = {path_of(path): x for path, x in jax.tree.leaves_with_path(mask)}
    for path in paths:
        if path not in leaves:
            raise ValueError(f"mask has no leaf {path!r}; {nearest(path, leaves)}")
    return [leaves[path] for path in paths]
