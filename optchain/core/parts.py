"""Laws on the parts of a leaf: each part is a matrix of its own size, and the leaf has one array for each slot."""

import dataclasses
import itertools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import gathered
from optchain.core.views import PartedView

Shapes = tuple[tuple[int, ...] | None, ...]  # of one slot in each part; None where a part does not have it


@dataclasses.dataclass(frozen=True)
class Parts:
    """The parts of a leaf, and the shapes of the slots that a rule keeps for each.

    A slot that is like its part in every part has the leaf's shape. Any other one is a vector: that of the first part,
    entry by entry, then that of the second, and so on.
    """

    view: PartedView
    slots: tuple[Shapes, ...]

    @classmethod
    def of(cls, view: PartedView, init: Callable[[jax.Array], Any]) -> "Parts":
        """The parts that a view shows, for a rule whose slots `init` makes."""
        made = [jax.eval_shape(init, jax.ShapeDtypeStruct(shape, jnp.float32)) for shape in view.shown]
        columns = zip(*made, strict=True)
        return cls(view, tuple(tuple(None if x is None else x.shape for x in column) for column in columns))

    def each(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A function of one part as one of the leaf; its arguments are arrays like it, trees of them, or slots."""

        def through(*args: Any) -> Any:
            columns = zip(*map(self.apart, args), strict=True)
            return self.together([function(*column) for column in columns])

        return through

    def is_like(self, shapes: Shapes) -> bool:
        """Whether a slot of these shapes has the leaf's shape."""
        return shapes == self.view.shown

    def apart(self, arg: Any) -> list[Any]:
        """What each part has of an argument: an array like the leaf, a tree of them, or slots."""
        leaves, treedef = jax.tree.flatten(arg)
        if not leaves:
            return [arg] * len(self.view.parts)
        if _is_slots(arg):
            columns = [self._slot_apart(x, shapes) for x, shapes in zip(arg, self.slots, strict=True)]
            return [type(arg)(*column) for column in zip(*columns, strict=True)]
        columns = [self._cut(x) if x.shape == self.view.shape else [x] * len(self.view.parts) for x in leaves]
        return [treedef.unflatten(column) for column in zip(*columns, strict=True)]

    def _cut(self, x: jax.Array) -> list[jax.Array]:
        """The parts of an array like the leaf; an axis that is sharded and explicit cannot be cut."""
        return self.view(gathered(x, 0))

    def _slot_apart(self, x: Any, shapes: Shapes) -> list[Any]:
        if x is None:
            return [None] * len(shapes)
        if self.is_like(shapes):
            return self._cut(x)
        x = gathered(x, 0)
        ends = [0, *itertools.accumulate(0 if shape is None else math.prod(shape) for shape in shapes)]
        pieces = zip(shapes, itertools.pairwise(ends), strict=True)
        return [None if shape is None else x[a:b].reshape(shape) for shape, (a, b) in pieces]

    def together(self, results: list[Any]) -> Any:
        """One result for the leaf from those of the parts: slots, an array, or a pair of an array and slots."""
        first = results[0]
        if _is_slots(first):
            columns = zip(zip(*results, strict=True), self.slots, strict=True)
            return type(first)(*(self._slot_together(xs, shapes) for xs, shapes in columns))
        if isinstance(first, tuple):
            return tuple(map(self.together, map(list, zip(*results, strict=True))))
        return self.view.back(results)

    def _slot_together(self, xs: tuple[Any, ...], shapes: Shapes) -> Any:
        if self.is_like(shapes):
            return self.view.back(xs)
        vectors = [x.reshape(-1) for x in xs if x is not None]
        return jnp.concatenate(vectors) if vectors else None


def _is_slots(x: Any) -> bool:
    """Whether these are a rule's slots, a NamedTuple."""
    return isinstance(x, tuple) and type(x) is not tuple
