"""Which leaves a link applies to: True where it does."""

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.holes import is_hole
from optchain.core.layers import Layers, depths
from optchain.core.paths import matches, named_leaves, nearest


class Dataclass(Protocol):
    """An instance of any dataclass, such as a module of parameters; `Without` is one too."""

    __dataclass_fields__: ClassVar[dict[str, Any]]


# Which leaves: patterns on paths, a predicate of (path, leaf), or a tree of bools, of which a single bool is the least
# and a function of the whole tree may make another.
Predicate = Callable[[str, jax.Array], bool]
Mask = str | Sequence[Any] | Mapping[Any, Any] | Predicate | Callable[[Any], Any] | Dataclass | bool

# The last key of a leaf, or its end, that is neither a kernel nor an embedding, regardless of its axes.
NO_KERNELS = ("bias", "scale", "gamma", "beta", "a_log")


def is_matrix(path: str, p: jax.Array) -> bool:
    """A predicate for masks: leaves with at least two axes, without those that `over_layers` declares.

    These are kernels and embeddings, but also the biases of attention heads, (heads, size), and biases and scales of
    stacked layers that are not declared: `is_kernel` knows these by their names.

    Args:
        path: of the leaf, its keys joined by slashes.
        p: the leaf.
    """
    return p.ndim >= 2


def is_kernel(path: str, p: jax.Array) -> bool:
    """A predicate for masks: kernels and embeddings, which are what `is_matrix` takes, but for biases and scales.

    These are known by the last key of the path, in upper or lower case: `bias`, `scale`, `gamma`, `beta`, `A_log` (of
    state space models), and what ends with one of them after an underscore, such as `dt_bias` and `layer_scale`.

    Args:
        path: of the leaf, its keys joined by slashes.
        p: the leaf.
    """
    last = path.rpartition("/")[2].lower()
    return p.ndim >= 2 and not (last in NO_KERNELS or last.endswith(tuple(f"_{name}" for name in NO_KERNELS)))


class Choice:
    """A mask that is neither patterns, nor a function, nor a tree; a frozen dataclass, so that it can be compared."""

    def over(self, tree: Any, layers: Layers | None = None) -> list[bool]:
        """One bool for each leaf."""
        raise NotImplementedError

    def takes(self, path: str, leaf: Any) -> bool:
        """Whether it chooses a leaf that stands outside of the tree."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Without(Choice):
    """A mask: what one mask chooses, without what another one chooses.

    Args:
        mask: chooses; None for everything.
        other: takes away.
    """

    mask: Any
    other: Any

    def __str__(self) -> str:
        return f"{'all' if self.mask is None else label(self.mask)} but {label(self.other)}"

    def over(self, tree: Any, layers: Layers | None = None) -> list[bool]:
        """One bool for each leaf."""
        both = zip(select(self.mask, tree, layers), select(self.other, tree, layers), strict=True)
        return [a and not b for a, b in both]

    def takes(self, path: str, leaf: Any) -> bool:
        """Whether it chooses a leaf that stands outside of the tree."""
        return (self.mask is None or chooses(self.mask, path, leaf)) and not chooses(self.other, path, leaf)


def label(mask: Mask) -> str:
    """The name of a mask: its pattern, or the name of its predicate."""
    if isinstance(mask, (list, tuple)):
        return " ".join(map(str, mask))
    return mask.__name__ if inspect.isfunction(mask) else mask if isinstance(mask, str) else str(mask)


def select(mask: Mask | None, tree: Any, layers: Layers | None = None) -> list[bool]:
    """One bool for each leaf of the tree, in order.

    A mask is

    - a pattern on paths (`"*/kernel"`, where `*` crosses slashes) or several;
    - a tree of bools, in which each leaf is found by its path, regardless of the containers; a bool in the place of a
      subtree stands for all that is in it;
    - a predicate of (path, leaf);
    - a function of the whole tree, its one argument, that returns a tree of bools;
    - one mask `Without` another.

    Functions see leaves without the axes that `layers` declares.

    Raises:
        ValueError: a pattern that matches no leaf, a predicate or tree that does not give one bool for each leaf.
    """
    if mask is None:
        return [True] * len(jax.tree.leaves(tree))
    # A pattern may match what has been left out before: it is the name of a parameter all the same.
    present = named_leaves(tree, is_hole)
    leaves = [(path, x) for path, x in present if not is_hole(x)]
    patterns = _patterns(mask)
    if patterns is not None:
        for pattern in patterns if present else ():
            if not any(matches(path, pattern) for path, _ in present):
                raise ValueError(f"mask {pattern!r} matches no parameter; {nearest(pattern, [p for p, _ in present])}")
        return [any(matches(path, pattern) for pattern in patterns) for path, _ in leaves]
    if not leaves:
        return []
    if isinstance(mask, Choice):
        return mask.over(tree, layers)
    values = _called(mask, tree, leaves, layers) if _is_function(mask) else _in_tree(mask, [path for path, _ in leaves])
    for (path, _), value in zip(leaves, values, strict=True):
        if not isinstance(value, (bool, np.bool)) and not (
            jnp.shape(value) == () and jnp.result_type(value) == jnp.bool
        ):
            raise ValueError(f"mask gives {value!r} for parameter {path!r}; expected one bool for the whole leaf")
    return [bool(value) for value in values]


def chooses(mask: Any, path: str, leaf: Any) -> bool:
    """Whether a mask chooses a leaf that stands outside of the tree; a pattern need not match it."""
    if isinstance(mask, Choice):
        return mask.takes(path, leaf)
    patterns = _patterns(mask)
    if patterns is not None:
        return any(matches(path, pattern) for pattern in patterns)
    tree = leaf
    for key in reversed(path.split("/")):
        tree = {key: tree}
    return select(mask, tree)[0]


def _patterns(mask: Any) -> list[str] | None:
    """The patterns that a mask consists of, None for one that is something else."""
    if isinstance(mask, str):
        return [mask]
    if isinstance(mask, (list, tuple)) and mask and all(isinstance(pattern, str) for pattern in mask):
        return list(mask)
    return None


def _is_function(mask: Any) -> bool:
    """Whether this is a function and not a tree, which may be callable too, as a module of Equinox is."""
    return callable(mask) and all(map(callable, jax.tree.leaves(mask)))


def _called(function: Any, tree: Any, leaves: list[tuple[str, Any]], layers: Layers | None) -> list[Any]:
    """What a predicate says of each leaf, or a function of the whole tree of it."""
    if layers is not None:
        shapes = [
            jax.ShapeDtypeStruct(jnp.shape(x)[n:], jnp.result_type(x)) if n else x
            for (_, x), n in zip(leaves, depths(layers, tree), strict=True)
        ]
        leaves = [(path, x) for (path, _), x in zip(leaves, shapes, strict=True)]
    try:
        if not _takes_the_tree(function):
            return [function(path, x) for path, x in leaves]
        values = function(jax.tree.unflatten(jax.tree.structure(tree), [x for _, x in leaves]))
    except (TypeError, AttributeError, KeyError) as error:
        hint = "a predicate takes (path, leaf), a function of the whole tree takes nothing else and returns bools"
        raise ValueError(f"mask {label(function)!r} fails: {type(error).__name__}: {error}; {hint}") from error
    return _in_tree(values, [path for path, _ in leaves])


def _takes_the_tree(function: Any) -> bool:
    """Whether a function must be called with one argument only."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a function of C without a signature
        return False
    positional = [x for x in parameters if x.kind in (x.POSITIONAL_ONLY, x.POSITIONAL_OR_KEYWORD)]
    is_variadic = any(x.kind == x.VAR_POSITIONAL for x in parameters)
    return not is_variadic and sum(x.default is x.empty for x in positional) == 1


def _in_tree(mask: Any, paths: list[str]) -> list[Any]:
    """The leaf of a mask at each path, or at that of a subtree that the path leads through."""
    values = dict(named_leaves(mask))
    chosen = []
    for path in paths:
        subtree = path
        while subtree and subtree not in values:
            subtree = subtree.rpartition("/")[0]
        if subtree not in values:
            raise ValueError(f"mask has no leaf {path!r}; {nearest(path, values)}")
        chosen.append(values[subtree])
    return chosen
