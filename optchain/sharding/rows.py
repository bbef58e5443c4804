"""Arrays that lie one after another in one row for each owner."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Rows:
    """Where arrays lie, by number: in a buffer [owners, width], each in the row of its owner."""

    shapes: Sequence[tuple[int, ...] | None]  # None for one that is not there
    order: Sequence[Sequence[int]]  # the arrays of each owner

    @functools.cached_property
    def places(self) -> dict[int, tuple[int, int]]:
        """For each array that is there, its owner and where it begins."""
        places = {}
        for owner, numbers in enumerate(self.order):
            at = 0
            for i in numbers:
                if (shape := self.shapes[i]) is not None:
                    places[i] = owner, at
                    at += math.prod(shape)
        return places

    @functools.cached_property
    def width(self) -> int:
        """The entries of the fullest row; one at the least, because JAX cannot fetch a split array without entries."""
        return max([1, *(at + self._size(i) for i, (_, at) in self.places.items())])

    def row(self, owner: int, arrays: Mapping[int, Any], dtype: Any, lead: tuple[int, ...] = ()) -> jax.Array:
        """The row of an owner, from its arrays, which are flat but for these leading axes, padded with zeros."""
        own = [arrays[i] for i in self.order[owner] if i in self.places]
        left = self.width - sum(x.shape[-1] for x in own)
        own += [jnp.zeros((*lead, left), dtype)] if left or not own else []
        return own[0] if len(own) == 1 else jnp.concatenate(own, axis=-1)

    def buffer(self, arrays: Sequence[Any], dtype: Any) -> jax.Array:
        """All rows, from the flat arrays."""
        numbered = dict(enumerate(arrays))
        return jnp.stack([self.row(owner, numbered, dtype) for owner in range(len(self.order))])

    def cut(self, i: int, row: jax.Array) -> jax.Array:
        """One array out of the row of its owner, flat but for the leading axes of the row."""
        _, at = self.places[i]
        return row[..., at : at + self._size(i)]

    def array(self, i: int, row: jax.Array) -> jax.Array:
        """One array out of the row of its owner, in its shape."""
        return self.cut(i, row).reshape(self.shapes[i])

    def _size(self, i: int) -> int:
        return math.prod(self.shapes[i] or ())
