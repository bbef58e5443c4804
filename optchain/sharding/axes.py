"""Which parameter each array of a state belongs to, and which axes of it the array follows."""

import dataclasses
import itertools
from collections.abc import Iterator
from typing import Any

import jax

from optchain.control.accumulate import Accumulate
from optchain.control.apart import KEPT
from optchain.control.delayed import Delayed
from optchain.core.axes import Axes, axes_by_shape
from optchain.core.dense import Dense
from optchain.core.holes import HOLE, is_hole
from optchain.core.places import places
from optchain.core.rule import KEPT_BY_THE_LINK
from optchain.core.runner import Runner
from optchain.core.states import owners
from optchain.core.walk import definitions, dotted, rewritten
from optchain.packing.packed import on_buffers
from optchain.packing.packed_state import buffers_of
from optchain.packing.packed_tree import is_packed
from optchain.sharding.flat_state import flat_slots
from optchain.sharding.owned import Owned


@dataclasses.dataclass(frozen=True)
class Follows:
    """The number of a parameter among the leaves, holes included, and the axes of it that an array follows."""

    param: int
    axes: Axes


@dataclasses.dataclass(frozen=True)
class Stacked:
    """The mesh axes over which the first axis is split: that of a stack of matrices, or the one of a flat array."""

    owners: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Apart:
    """The mesh axes along which each device has an array of its own, in the first axis, and what the others follow."""

    over: tuple[str, ...]
    rest: Follows | None


def followed(tx: Any, state: Any, params: Any) -> list[Follows | Stacked | Apart | None]:
    """For each leaf of `tx.init(params)`, holes included, what it follows; None for holes and for what is no slot.

    A rule declares it. Elsewhere (in trees that a wrapper, a rule of the whole tree or a transformation of optax keeps)
    the shape says it: all axes of the parameter, its first ones, or none.
    """
    slots = jax.tree.leaves(state, is_leaf=is_hole)
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    targets: list[Follows | Stacked | Apart | None] = [
        None if i is None or is_hole(x) else Follows(i, axes_by_shape(x.shape, ps[i].shape))
        for x, i in zip(slots, places(tx, state, params), strict=True)
    ]
    numbers = jax.tree.structure(state, is_leaf=is_hole).unflatten(range(len(slots)))
    buffers = buffers_of(tx, numbers, params)
    if is_packed(params):
        tx = rewritten(tx, lambda link: on_buffers(link, params.layout))
    for link, numbered in tables(tx, numbers):
        kept = {slot: tree for slot, tree in numbered.items() if slot not in KEPT_BY_THE_LINK}
        trees = link.storage.trees(link.name, kept) if isinstance(link, Dense) else kept
        table = {slot: jax.tree.leaves(tree) for slot, tree in trees.items()}
        if isinstance(link, Owned):
            for i in itertools.chain(*table.values()):
                targets[i] = Stacked(link.owners)
        if not isinstance(link, Dense) or isinstance(link, Owned):
            continue
        held = {slot: {i: x.param for i in table[slot] if isinstance(x := targets[i], Follows)} for slot in table}
        owned = {param for pairs in held.values() for param in pairs.values()}
        tree = jax.tree.structure(params, is_leaf=is_hole).unflatten(
            [p if i in owned else HOLE for i, p in enumerate(ps)]
        )
        declared = dict(zip(sorted(owned), link.axes(tree), strict=True))
        for slot, pairs in held.items():
            for i, param in pairs.items():
                targets[i] = Follows(param, declared[param][slot])
    for link, numbered in tables(tx, numbers, Accumulate):
        if link.over:
            for i in jax.tree.leaves([numbered[name] for name in KEPT]):
                found = targets[i]
                rest = found if found is None else Follows(found.param, (None, *range(slots[i].ndim - 1)))
                targets[i] = Apart(link.over, rest)
    for link, numbered in tables(tx, numbers, Delayed):
        for i in jax.tree.leaves([numbered[name] for name in link.rings]):
            if isinstance(found := targets[i], Follows):
                targets[i] = Follows(found.param, (None, *range(slots[i].ndim - 1)))
    for i, (raveled, param) in flat_slots(tx, state, params).items():
        if slots[i].shape == (raveled.length(ps[param].shape),):
            targets[i] = Stacked((raveled.axis,))
    for i, (layout, buffer) in buffers.items():
        if layout.axis is not None and layout.is_split(buffer, slots[i]):
            targets[i] = Stacked((layout.axis,))
    return targets


def tables(tx: Any, state: Any, kind: type = Runner) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The links of a kind, those that run a rule if left out, each with what it keeps in the state."""
    links = {(prefix, link.name): link for prefix, link in definitions(tx) if isinstance(link, kind)}
    for prefix, name, table in owners(state):
        link = links.get((dotted(*prefix.split(".")), name))
        if link is not None:
            yield link, table
