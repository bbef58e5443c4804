"""Stacks of equal matrices, dealt out to owners."""

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.parts import Parts


@dataclasses.dataclass(frozen=True)
class Stack:
    """Matrices of one shape, of the pieces `members`: matrix i is with owner (first + i) mod `owners`, in place
    i // owners. A piece is a leaf, or a part of one, with one matrix or more.
    """

    members: tuple[int, ...]
    counts: tuple[int, ...]  # of the matrices of each member
    first: int
    owners: int

    @property
    def places(self) -> int:
        """The matrices that an owner has room for."""
        return -(-sum(self.counts) // self.owners)

    @property
    def filled(self) -> tuple[int, int]:
        """The places that are filled at all owners, and the owners at which the last place is, where not all are."""
        return divmod(sum(self.counts), self.owners)

    def dealt(self, pieces: Sequence[jax.Array]) -> jax.Array:
        """The matrices of all members in the order of their owners; zeros in the places that are left."""
        x = pieces[0] if len(pieces) == 1 else jnp.concatenate(pieces)
        if self.places == 1 and not self.first and len(x) == self.owners:
            return x
        x = jnp.pad(x, [(0, self.owners * self.places - len(x))] + [(0, 0)] * (x.ndim - 1))
        x = jnp.roll(x.reshape(self.places, self.owners, *x.shape[1:]), self.first, axis=1)
        return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def collected(self, x: jax.Array) -> list[jax.Array]:
        """The matrices of each member, out of the order of their owners."""
        if self.places > 1 or self.first:
            x = jnp.roll(x.reshape(self.owners, self.places, *x.shape[1:]).swapaxes(0, 1), -self.first, axis=1)
            x = x.reshape(-1, *x.shape[2:])
        ends = itertools.accumulate(self.counts)
        return [x[end - count : end] for end, count in zip(ends, self.counts, strict=True)]


def stacks_of(pieces: Sequence[jax.Array], owners: int) -> dict[str, Stack]:
    """The stacks by the shape of their matrices; each begins with the owner after the last of the one before.

    So shapes that occur once or twice are spread over the owners.
    """
    alike: dict[str, list[int]] = {}
    for i, x in enumerate(pieces):
        alike.setdefault(key_of(x, owners), []).append(i)
    stacks, first = {}, 0
    for key, members in alike.items():
        counts = tuple(len(pieces[i]) for i in members)
        stacks[key] = Stack(tuple(members), counts, first % owners, owners)
        first += sum(counts)
    return stacks


def key_of(x: jax.Array, owners: int) -> str:
    """The name of the stack that the matrices of a piece belong to, with the number of owners on which their order
    depends."""
    wide = "" if x.dtype == jnp.float32 else f":{x.dtype}"
    return f"{'x'.join(map(str, x.shape[1:]))}{wide}@{owners}"


def pieces_of(form: Form, x: jax.Array) -> list[jax.Array]:
    """A leaf as stacks of matrices: one, or one for each part of its view."""
    if isinstance(form.view, Parts):
        parts = each(form.view.view, form.depth)(x)
    else:
        parts = [x if form.view is None else each(form.view, form.depth)(x)]
    return [part.reshape(-1, *part.shape[form.depth + form.shown_depth :]) for part in parts]


def leaf_of(form: Form, pieces: Sequence[jax.Array], shape: tuple[int, ...]) -> jax.Array:
    """The leaf of this shape whose pieces these are."""
    outer = shape[: form.depth]
    if isinstance(form.view, Parts):
        parts = [x.reshape(*outer, *shown) for x, shown in zip(pieces, form.view.view.shown, strict=True)]
        return each(form.view.view.back, form.depth)(parts)
    (x,) = pieces
    shown = () if form.view is None else form.view.shown[: form.shown_depth]
    x = x.reshape(*outer, *shown, *x.shape[1:])
    return x if form.view is None else each(form.view.back, form.depth)(x)


def each(function: Callable[..., Any], depth: int) -> Callable[..., Any]:
    """A function of what comes after so many axes, mapped over these."""
    for _ in range(depth):
        function = jax.vmap(function)
    return function
