"""The rest: matrices of any shapes in flat buffers, each with the owner that was least full."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.axes import entry
from optchain.sharding.deals import Law, Member, Numbers, Step
from optchain.sharding.owners import Owners
from optchain.sharding.rows import Rows
from optchain.sharding.tiles import Sent


@dataclasses.dataclass(frozen=True)
class Rest:
    """Matrices with an owner each, numbered member after member.

    A slot is a buffer [owners, width]: in the row of an owner lie the slots of its matrices, one after another. Updates
    travel in such a buffer too. What an owner steps is one branch of a `switch`, the same for all owners that have the
    same shapes.
    """

    members: tuple[Member, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the matrices
    dealt: tuple[int, ...]  # the owner of each matrix
    slots: tuple[dict[str, Any], ...]  # of each matrix by name, abstract
    owners: Owners

    def begun(self, pieces: Sequence[jax.Array], numbers: Sequence[Numbers], init: Law) -> Any:
        sent, by_owner = self._sent(pieces), jax.P(self.owners.axes)

        def local(tiles: Any, numbers: Any) -> Any:
            first = lambda place: (place[0], init((place[0], place[3])))  # noqa: E731
            run = self._switch((first, jax.vmap(first)), sent, None)
            return run(sent.inward(_apart(tiles)), None, {}, numbers)[1]

        if not self._rows:
            return {}
        run = self._inside(local, (_specs(sent, self.members), by_owner), by_owner)
        return run(self._own(pieces), self._numbers(numbers))

    def stepped(self, gs: Any, ps: Any, olds: Any, numbers: Sequence[Numbers], step: Step) -> Any:
        sent, p_sent = self._sent(gs), None if ps is None else self._sent(ps)

        def local(gs: Any, ps: Any, olds: Any, numbers: Any, *arrays: jax.Array) -> Any:
            there = None if p_sent is None else p_sent.inward(_apart(ps))
            run = self._switch(step.made(arrays), sent, p_sent)
            buffers, news = run(sent.inward(_apart(gs)), there, olds, numbers)
            return _together(sent.outward(buffers), self.members), news

        by_owner, same = jax.P(self.owners.axes), [jax.P()] * len(step.arrays)
        g_specs = _specs(sent, self.members)
        p_specs = None if p_sent is None else _specs(p_sent, self.members)
        run = self._inside(local, (g_specs, p_specs, by_owner, by_owner, *same), (g_specs, by_owner))
        olds, ps = jax.tree.map(self.owners.placed, olds), None if ps is None else self._own(ps)
        return run(self._own(gs), ps, olds, self._numbers(numbers), *step.arrays)

    def held(self, slot: str, columns: Sequence[jax.Array | None]) -> jax.Array | None:
        if slot not in self._rows:
            return None
        stacks = [None if x is None else self.owners.everywhere(x.reshape(len(x), x[0].size)) for x in columns]
        pairs = zip(self.members, stacks, strict=True)
        flat = [None if x is None else x[i] for member, x in pairs for i in range(member.count)]
        return self.owners.placed(self._rows[slot].buffer(flat, self._dtype(slot)))

    def collected(self, slot: str, x: jax.Array) -> Sequence[jax.Array | None]:
        rows, x = self._rows[slot], self.owners.everywhere(x)
        arrays = [rows.array(i, x[owner]) if i in rows.places else None for i, owner in enumerate(self.dealt)]
        return _together(arrays, self.members)

    @functools.cached_property
    def _order(self) -> list[list[int]]:
        """The matrices of each owner; those of one shape lie side by side."""
        order: list[list[int]] = [[] for _ in range(self.owners.count)]
        for i in sorted(range(len(self.shapes)), key=lambda i: (self.shapes[i], i)):
            order[self.dealt[i]].append(i)
        return order

    @functools.cached_property
    def _rows(self) -> dict[str, Rows]:
        """Where each slot lies."""
        names = {name: None for slots in self.slots for name in slots}
        columns = {name: [slots[name].shape if name in slots else None for slots in self.slots] for name in names}
        return {name: Rows(column, self._order) for name, column in columns.items()}

    def _dtype(self, slot: str) -> Any:
        return next(slots[slot].dtype for slots in self.slots if slot in slots)

    def _switch(self, laws: tuple[Law, Law], sent: Sent, p_sent: Sent | None) -> Callable[..., Any]:
        """What this owner does with its buffers: those of the updates, of the parameters, of slots and of numbers."""
        singles = Rows([()] * len(self.shapes), self._order)

        def place(i: int, gs: Any, ps: Any, olds: Any, numbers: Any) -> Any:
            p = None if p_sent is None else p_sent.matrix(i, ps)
            slots = {
                name: rows.array(i, olds[name][0]) for name, rows in self._rows.items() if i in rows.places and olds
            }
            own = {name: singles.array(i, row[0]) for name, row in numbers.items()}
            return sent.matrix(i, gs), slots, p, own

        def branch(owner: int) -> Callable[..., Any]:
            def run(*buffers: Any) -> Any:
                us, made = {}, {}
                for _, group in itertools.groupby(self._order[owner], lambda i: self.shapes[i]):
                    numbers = [*group]
                    places = [place(i, *buffers) for i in numbers]
                    for i, (u, news) in zip(numbers, _each(laws, places), strict=True):
                        us[i], made[i] = u, news
                rows = {}
                for name, own in self._rows.items():
                    flat = {i: news[name].reshape(-1) for i, news in made.items() if i in own.places}
                    rows[name] = own.row(owner, flat, self._dtype(name))[None]
                return sent.buffers(owner, us), rows

            return run

        kinds: dict[Any, int] = {}
        which = [kinds.setdefault(self._kind(owner, sent, p_sent), len(kinds)) for owner in range(self.owners.count)]
        branches = [branch(which.index(kind)) for kind in kinds.values()]

        def switch(*buffers: Any) -> Any:
            return jax.lax.switch(jnp.array(which)[jax.lax.axis_index(self.owners.axes)], branches, *buffers)

        return switch

    def _kind(self, owner: int, sent: Sent, p_sent: Sent | None) -> Any:
        """What owners have in common that run one branch: shapes and layouts, so also where all of it lies."""
        return tuple((sent.same(i), None if p_sent is None else p_sent.same(i)) for i in self._order[owner])

    def _numbers(self, numbers: Sequence[Numbers]) -> dict[str, jax.Array]:
        """The numbers of the matrices, with the owners."""
        singles, held = Rows([()] * len(self.shapes), self._order), {}
        for name, first in numbers[0].items():
            column = [own[name][i : i + 1] for own in numbers for i in range(len(own[name]))]
            held[name] = self.owners.placed(singles.buffer(column, first.dtype))
        return held

    def _sent(self, pieces: Sequence[jax.Array]) -> Sent:
        sides = [self.owners.sides(x.of(pieces)) for x in self.members for _ in range(x.count)]
        return Sent.of(self.owners, self._order, self.shapes, sides, pieces[self.members[0].piece].dtype)

    def _own(self, pieces: Sequence[jax.Array]) -> list[jax.Array]:
        return [member.of(pieces) for member in self.members]

    def _inside(self, function: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
        # JAX cannot check what varies in the branches of a `switch`.
        return jax.shard_map(function, mesh=self.owners.mesh, in_specs=in_specs, out_specs=out_specs, check_vma=False)


def _each(laws: tuple[Law, Law], places: Sequence[Any]) -> list[Any]:
    """The law of several matrices of one shape, in one call."""
    law, several = laws
    if len(places) == 1:
        return [law(places[0])]
    made = several(jax.tree.map(lambda *xs: jnp.stack(xs), *places))
    return [jax.tree.map(lambda x, n=n: x[n], made) for n in range(len(places))]


def _specs(sent: Sent, members: Sequence[Member]) -> list[Any]:
    """The layout of each member."""
    first = itertools.accumulate([0, *(member.count for member in members)])
    return [jax.P(None, *map(entry, sent.sides[i])) for i, _ in zip(first, members, strict=False)]


def _apart(stacks: Sequence[jax.Array]) -> list[jax.Array]:
    return [stack[i] for stack in stacks for i in range(len(stack))]


def _together(arrays: Sequence[Any], members: Sequence[Member]) -> list[Any]:
    """A stack for each member; None for one whose matrices have no such array."""
    found, rest = [], iter(arrays)
    for member in members:
        own = [*itertools.islice(rest, member.count)]
        found.append(None if own[0] is None else jnp.stack(own))
    return found
