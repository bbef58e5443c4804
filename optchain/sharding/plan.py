"""How the leaves of a tree are dealt out to owners: as pieces, in stacks, and in what remains of these."""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.form import Form
from optchain.core.gather import scattered, whole_rows
from optchain.core.paths import names_of
from optchain.sharding.deal import Shape, rest_of
from optchain.sharding.deals import Deal, Member
from optchain.sharding.moves import is_explicit
from optchain.sharding.owners import Owners
from optchain.sharding.rest import Rest
from optchain.sharding.stacks import Stack, leaf_of, pieces_of

Coded = tuple[str, ...]  # the names of the slots that are kept in few bits
Slots = Callable[[Shape, Any, Coded], dict[str, Any]]  # the arrays of the slots of a matrix, abstract


@dataclasses.dataclass(frozen=True)
class Plan:
    """The leaves of a tree as pieces, and the deals of their matrices."""

    treedef: Any
    leaves: list[jax.Array]
    forms: list[Form]
    owners: Owners
    pieces: list[jax.Array]
    owner: list[int]  # the number of the leaf that each piece is of
    coded: list[Coded]  # of each leaf
    deals: dict[str, Deal]

    @classmethod
    def of(cls, owners: Owners, slots: Slots, forms: list[Form], coded: list[Coded], tree: Any) -> "Plan":
        leaves, treedef = jax.tree.flatten(tree)
        pieces, owner = [], []
        for i, (form, x) in enumerate(zip(forms, leaves, strict=True)):
            # An axis that is split and explicit can be neither merged nor cut.
            if is_explicit(owners.mesh):
                x = whole_rows(x, form.depth if form.view is None else x.ndim)
            apart = pieces_of(form, x)
            pieces += apart
            owner += [i] * len(apart)
        deals = deals_of(pieces, [coded[i] for i in owner], owners, slots)
        return cls(treedef, leaves, forms, owners, pieces, owner, coded, deals)

    @functools.cached_property
    def paths(self) -> list[str]:
        """The names of the leaves."""
        return names_of(self.treedef.unflatten(self.leaves))

    def whole(self, made: dict[str, Sequence[Any]]) -> list[Any]:
        """An array for each piece, from those for the members of the deals, by key."""
        parts: list[list[tuple[int, Any]]] = [[] for _ in self.pieces]
        for key, arrays in made.items():
            for member, x in zip(self.deals[key].members, arrays, strict=True):
                parts[member.piece].append((member.start, x))
        return [_joined([x for _, x in sorted(own, key=lambda part: part[0])]) for own in parts]

    def joined(self, pieces: list[jax.Array]) -> Any:
        """The tree of these pieces, in the layouts of its leaves."""
        leaves = self.by_leaf(leaf_of, pieces)
        return self.treedef.unflatten([scattered(new, x) for new, x in zip(leaves, self.leaves, strict=True)])

    def by_leaf(self, function: Callable[..., Any], pieces: list[Any]) -> list[Any]:
        """A function of the form, the pieces and the shape of each leaf."""
        apart, counts = iter(pieces), map(self.owner.count, range(len(self.leaves)))
        return [
            function(form, [next(apart) for _ in range(n)], x.shape)
            for form, n, x in zip(self.forms, counts, self.leaves, strict=True)
        ]


def deals_of(pieces: Sequence[jax.Array], coded: Sequence[Coded], owners: Owners, slots: Slots) -> dict[str, Deal]:
    """The deals of all matrices, by name: a stack for each shape, and the rest, where that keeps owners from waste.

    Each stack begins with the owner after the last of the one before: shapes that occur once or twice are spread over
    them. Matrices with fewer slots in codes than others are dealt out apart.
    """
    alike: dict[tuple[Shape, Any, Coded], list[Member]] = {}
    for i, (x, own) in enumerate(zip(pieces, coded, strict=True)):
        alike.setdefault((x.shape[1:], x.dtype, own), []).append(Member(i, 0, len(x)))
    counts = tuple((shape, sum(x.count for x in members)) for (shape, _, _), members in alike.items())
    dealt = rest_of(counts, owners.count) if all(map(len, pieces)) else None
    slots, most = functools.cache(slots), max(coded, key=len, default=())

    def key(name: str, dtype: Any, own: Coded) -> str:
        """The name of a deal, with the number of owners on which its order depends."""
        wide = "" if dtype == jnp.float32 else f":{dtype}"
        return f"{name}{wide}{'' if own == most else ':' + ('+'.join(own) or 'float32')}@{owners.count}"

    if dealt is None or not _one_dtype_each(alike, slots):
        firsts = itertools.accumulate((n for _, n in counts), initial=0)
        return {
            key("x".join(map(str, shape)), *kind): Stack(tuple(members), first % owners.count, owners)
            for ((shape, *kind), members), first in zip(alike.items(), firsts, strict=False)
        }
    deals: dict[str, Deal] = {}
    rests: dict[Any, list[Any]] = {}
    left = iter(dealt)
    for ((shape, *kind), members), (_, n) in zip(alike.items(), counts, strict=True):
        full, over = _split(members, n - n % owners.count)
        if full:
            deals[key("x".join(map(str, shape)), *kind)] = Stack(tuple(full), 0, owners)
        for member in over:
            rests.setdefault((*kind,), []).append((member, [(shape, next(left)) for _ in range(member.count)]))
    for kind, rows in rests.items():
        shapes, own = zip(*itertools.chain(*(matrices for _, matrices in rows)), strict=True)
        kept = tuple(slots(shape, *kind) for shape in shapes)
        deals[key("rest", *kind)] = Rest(tuple(member for member, _ in rows), shapes, own, kept, owners)
    return deals


def _split(members: Sequence[Member], size: int) -> tuple[list[Member], list[Member]]:
    """So many matrices of the members, and the others."""
    first, others = [], []
    for member in members:
        at = member.start + min(size, member.count)
        size -= at - member.start
        first += [Member(member.piece, member.start, at)] if at > member.start else []
        others += [Member(member.piece, at, member.stop)] if at < member.stop else []
    return first, others


def _one_dtype_each(alike: Any, slots: Callable[..., Any]) -> bool:
    """Whether each slot has one dtype for matrices of one kind: its buffer has one."""
    found: dict[Any, set[Any]] = {}
    for shape, *kind in alike:
        for name, x in slots(shape, *kind).items():
            found.setdefault((name, *kind), set()).add(x.dtype)
    return all(len(dtypes) == 1 for dtypes in found.values())


def _joined(parts: list[Any]) -> Any:
    """The matrices of a piece from those of its parts."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *xs: jnp.concatenate([xs[0], *(scattered(x, xs[0]) for x in xs[1:])]), *parts)
