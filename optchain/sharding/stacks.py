"""Stacks of equal matrices, dealt out to owners in turn."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.gather import scattered
from optchain.core.parts import Parts
from optchain.sharding.deals import Law, Member, Numbers, Step
from optchain.sharding.moves import is_explicit, through, way
from optchain.sharding.owners import Owners


@dataclasses.dataclass(frozen=True)
class Stack:
    """Matrices of one shape: matrix i is with owner (first + i) mod N of N owners, in place i // N.

    A slot is a stack too, by the order of the owners, with zeros or first slots in the places that are left.
    """

    members: tuple[Member, ...]
    first: int
    owners: Owners

    @property
    def size(self) -> int:
        """How many matrices there are."""
        return sum(member.count for member in self.members)

    @property
    def places(self) -> int:
        """The matrices that an owner has room for."""
        return -(-self.size // self.owners.count)

    def begun(self, pieces: Sequence[jax.Array], numbers: Sequence[Numbers], init: Law) -> Any:
        return self.owners.alone(jax.vmap(init), (self._inward(pieces)[0], self._numbers(numbers)))

    def stepped(self, gs: Any, ps: Any, olds: Any, numbers: Sequence[Numbers], step: Step) -> Any:
        olds = jax.tree.map(self.owners.placed, olds)
        g, layouts = self._inward(gs)
        p = None if ps is None else self._inward(ps)[0]
        u, news = self.owners.alone(self._law(step), (g, olds, p, self._numbers(numbers)), step.arrays)
        return self._sorted(through(self.owners.mesh, u, layouts[::-1])), news

    def held(self, slot: str, columns: Sequence[jax.Array | None]) -> jax.Array | None:
        whole = [x for x in columns if x is not None]
        return self.owners.placed(self._dealt(whole)) if whole else None

    def collected(self, slot: str, x: jax.Array) -> Sequence[jax.Array | None]:
        return self._sorted(self.owners.everywhere(x))

    def _numbers(self, numbers: Sequence[Numbers]) -> dict[str, Any]:
        """The numbers of the matrices with their owners."""
        return {name: self.held(name, [own[name] for own in numbers]) for name in numbers[0]}

    def _law(self, step: Step) -> Callable[..., Any]:
        """The law of the places of one owner.

        The places that are filled at all owners go through one call, the last one is skipped where it is empty.
        """
        full, rest = divmod(self.size, self.owners.count)

        def law(places: Any, *arrays: jax.Array) -> Any:
            own, several = step.made(arrays)
            made = [several(jax.tree.map(lambda x: x[:full], places))] if full else []
            if rest:
                filled = jnp.mod(jax.lax.axis_index(self.owners.axes) - self.first, self.owners.count) < rest
                last = jax.tree.map(lambda x: x[-1], places)
                one = jax.lax.cond(filled, own, lambda place: (place[0], place[1]), last)
                made.append(jax.tree.map(lambda x: x[None], one))
            return made[0] if len(made) == 1 else jax.tree.map(lambda *xs: jnp.concatenate(xs), *made)

        return law

    def _inward(self, pieces: Sequence[jax.Array]) -> tuple[jax.Array, list[Any]]:
        """The matrices with their owners, and the layouts on the way there from that of the first member."""
        own, mesh = [member.of(pieces) for member in self.members], self.owners.mesh
        x = self._dealt([scattered(x, own[0]) for x in own] if is_explicit(mesh) else own)
        layouts = [] if mesh is None else way(mesh, x, self.owners.axes)
        return through(mesh, x, layouts), layouts

    def _dealt(self, stacks: Sequence[jax.Array]) -> jax.Array:
        """The matrices of all members in the order of their owners; zeros in the places that are left."""
        x = stacks[0] if len(stacks) == 1 else jnp.concatenate(stacks)
        if self.places == 1 and not self.first and len(x) == self.owners.count:
            return x
        x = jnp.pad(x, [(0, self.owners.count * self.places - len(x))] + [(0, 0)] * (x.ndim - 1))
        x = jnp.roll(x.reshape(self.places, self.owners.count, *x.shape[1:]), self.first, axis=1)
        return x.swapaxes(0, 1).reshape(-1, *x.shape[2:])

    def _sorted(self, x: jax.Array) -> list[jax.Array]:
        """The matrices of each member, out of the order of their owners."""
        if self.places > 1 or self.first:
            x = jnp.roll(x.reshape(self.owners.count, self.places, *x.shape[1:]).swapaxes(0, 1), -self.first, axis=1)
            x = x.reshape(-1, *x.shape[2:])
        ends = itertools.accumulate(member.count for member in self.members)
        return [x[end - member.count : end] for end, member in zip(ends, self.members, strict=True)]


def pieces_of(form: Form, x: jax.Array) -> list[jax.Array]:
    """A leaf as stacks of matrices: one, or one for each part of its view."""
    if isinstance(form.view, Parts):
        parts = each(form.view.view, form.depth)(x)
    else:
        parts = [x if form.view is None else each(form.view, form.depth)(x)]
    inner = form.depth + form.shown_depth
    return [part.reshape(math.prod(part.shape[:inner]), *part.shape[inner:]) for part in parts]


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
