"""Which parameter each array of a state belongs to, and which axes of it the array follows."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax

from optchain.core.axes import Axes, axes_by_shape
from optchain.core.dense import Dense
from optchain.core.holes import HOLE, is_hole
from optchain.core.places import places
from optchain.core.states import owners
from optchain.core.walk import definitions, dotted


@dataclasses.dataclass(frozen=True)
class Follows:
    """The number of a parameter among the leaves, holes included, and the axes of it that an array follows."""

    param: int
    axes: Axes


def followed(tx: Any, state: Any, params: Any) -> list[Follows | None]:
    """For each leaf of `tx.init(params)`, holes included, what it follows; None for holes and for what is no slot.

    A rule declares it. Elsewhere (in trees that a wrapper, a rule of the whole tree or a transformation of optax keeps)
    the shape says it: all axes of the parameter, its first ones, or none.
    """
    slots = jax.tree.leaves(state, is_leaf=is_hole)
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    targets = [
        None if i is None or is_hole(x) else Follows(i, axes_by_shape(x.shape, ps[i].shape))
        for x, i in zip(slots, places(tx, state, params), strict=True)
    ]
    for link, table in _dense(tx, state):
        held = {slot: {i: follows.param for i in table[slot] if (follows := targets[i])} for slot in table}
        owned = {param for pairs in held.values() for param in pairs.values()}
        tree = jax.tree.structure(params, is_leaf=is_hole).unflatten(
            [p if i in owned else HOLE for i, p in enumerate(ps)]
        )
        declared = dict(zip(sorted(owned), link.axes(tree), strict=True))
        for slot, pairs in held.items():
            for i, param in pairs.items():
                targets[i] = Follows(param, declared[param][slot])
    return targets


def _dense(tx: Any, state: Any) -> Iterator[tuple[Dense, dict[str, list[int]]]]:
    """The links whose rules see one array, with the numbers of their leaves in the state by the name of the slot."""
    links = {(prefix, link.name): link for prefix, link in definitions(tx) if isinstance(link, Dense)}
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    for prefix, name, table in owners(treedef.unflatten(range(len(leaves)))):
        link = links.get((dotted(*prefix.split(".")), name))
        if link is not None:
            yield link, {slot: jax.tree.leaves(table[slot]) for slot in table if slot not in ("count", "seen")}
