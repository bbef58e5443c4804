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
from optchain.sharding.deal import rest_of
from optchain.sharding.deals import Deal, Member
from optchain.sharding.moves import is_explicit
from optchain.sharding.owners import Owners
from optchain.sharding.rest import Rest
from optchain.sharding.stacks import Stack, leaf_of, pieces_of

Init = Callable[[jax.Array], dict[str, Any]]  # the slots of a matrix by name


@dataclasses.dataclass(frozen=True)
class Plan:
    """The leaves of a tree as pieces, and the deals of their matrices."""

    treedef: Any
    leaves: list[jax.Array]
    forms: list[Form]
    owners: Owners
    pieces: list[jax.Array]
    owner: list[int]  # the number of the leaf that each piece is of
    deals: dict[str, Deal]

    @classmethod
    def of(cls, owners: Owners, init: Init, forms: list[Form], tree: Any) -> "Plan":
        leaves, treedef = jax.tree.flatten(tree)
        pieces, owner = [], []
        for i, (form, x) in enumerate(zip(forms, leaves, strict=True)):
            # An axis that is split and explicit can be neither merged nor cut.
            if is_explicit(owners.mesh):
                x = whole_rows(x, form.depth if form.view is None else x.ndim)
            apart = pieces_of(form, x)
            pieces += apart
            owner += [i] * len(apart)
        return cls(treedef, leaves, forms, owners, pieces, owner, deals_of(pieces, owners, init))

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


def deals_of(pieces: Sequence[jax.Array], owners: Owners, init: Init) -> dict[str, Deal]:
    """The deals of all matrices, by name: a stack for each shape, and the rest, where that keeps owners from waste.

    Each stack begins with the owner after the last of the one before: shapes that occur once or twice are spread over
    them.
    """
    alike: dict[tuple[Any, Any], list[Member]] = {}
    for i, x in enumerate(pieces):
        alike.setdefault((x.shape[1:], x.dtype), []).append(Member(i, 0, len(x)))
    counts = tuple((shape, sum(x.count for x in members)) for (shape, _), members in alike.items())
    dealt = rest_of(counts, owners.count) if all(map(len, pieces)) else None
    slots = functools.cache(lambda shape, dtype: jax.eval_shape(init, jax.ShapeDtypeStruct(shape, dtype)))
    if dealt is None or not _one_dtype_each(alike, slots):
        firsts = itertools.accumulate((n for _, n in counts), initial=0)
        return {
            _key("x".join(map(str, shape)), dtype, owners): Stack(tuple(members), first % owners.count, owners)
            for ((shape, dtype), members), first in zip(alike.items(), firsts, strict=False)
        }
    deals: dict[str, Deal] = {}
    rests: dict[Any, list[Any]] = {}
    left = iter(dealt)
    for ((shape, dtype), members), (_, n) in zip(alike.items(), counts, strict=True):
        full, over = _split(members, n - n % owners.count)
        if full:
            deals[_key("x".join(map(str, shape)), dtype, owners)] = Stack(tuple(full), 0, owners)
        for member in over:
            rests.setdefault(dtype, []).append((member, [(shape, next(left)) for _ in range(member.count)]))
    for dtype, rows in rests.items():
        shapes, own = zip(*itertools.chain(*(matrices for _, matrices in rows)), strict=True)
        kept = tuple(slots(shape, dtype) for shape in shapes)
        deals[_key("rest", dtype, owners)] = Rest(tuple(member for member, _ in rows), shapes, own, kept, owners)
    return deals


def _key(name: str, dtype: Any, owners: Owners) -> str:
    """The name of a deal, with the number of owners on which its order depends."""
    return f"{name}{'' if dtype == jnp.float32 else f':{dtype}'}@{owners.count}"


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
    """Whether each slot has one dtype for matrices of one dtype: its buffer has one."""
    found: dict[Any, set[Any]] = {}
    for shape, dtype in alike:
        for name, x in slots(shape, dtype).items():
            found.setdefault((name, dtype), set()).add(x.dtype)
    return all(len(dtypes) == 1 for dtypes in found.values())


def _joined(parts: list[Any]) -> Any:
    """The matrices of a piece from those of its parts."""
    if len(parts) == 1:
        return parts[0]
    return jax.tree.map(lambda *xs: jnp.concatenate([xs[0], *(scattered(x, xs[0]) for x in xs[1:])]), *parts)
