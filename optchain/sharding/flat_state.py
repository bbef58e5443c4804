"""Which arrays of a state are flat, and the state with the parameters' shapes in their place, and back."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.door import Door
from optchain.core.holes import is_hole
from optchain.core.places import places
from optchain.core.runner import Runner
from optchain.core.states import owners
from optchain.core.transform import definition_of
from optchain.core.walk import dotted
from optchain.sharding.flat import Flat
from optchain.sharding.ravel import Raveled


def flat_slots(tx: Any, state: Any, params: Any) -> dict[int, tuple[Raveled, int]]:
    """By the number of each array of a state (leaves, holes included) that belongs to a flat parameter and has an entry
    for each of its own: which leaves are flat, and the number of the parameter.

    A state may have the parameters' shapes there, as one device and checkpoints have it.

    Raises:
        ValueError: flat leaves within a transformation of optax.
    """
    links = dict(_within(tx))
    if not links:
        if any(name == Flat.name for _, name, _ in owners(state)):
            problem = "flat stands within a transformation of optax, which cannot be looked into"
            raise ValueError(f"{problem}; use oc.chain, oc.groups and oc.guard around flat(...)")
        return {}
    slots, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    of_params, found = places(tx, state, params), {}
    chosen = {flat: _chosen(flat, params) for flat in set(links.values())}
    for prefix, name, table in owners(treedef.unflatten(range(len(slots)))):
        flat = links.get((dotted(*prefix.split(".")), name))
        if flat is None:
            continue
        raveled, flats = chosen[flat]
        for i in jax.tree.leaves(table):
            param = of_params[i]
            if param in flats and not is_hole(slots[i]):
                shape = ps[param].shape
                if np.shape(slots[i]) in (shape, (raveled.length(shape),)):
                    found[i] = raveled, param
    return found


def with_shapes_of_parameters(tx: Any, state: Any, params: Any) -> Any:
    """The state of one device: flat slots are whole, in the shapes of their parameters."""
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    ps = jax.tree.leaves(params, is_leaf=is_hole)
    for i, (raveled, param) in flat_slots(tx, state, params).items():
        leaves[i] = raveled.whole(leaves[i], ps[param].shape)
    return treedef.unflatten(leaves)


def with_flat_slots(tx: Any, state: Any, params: Any) -> Any:
    """The state on the mesh of the parameters, from that of one device; what is padded is as in a first state."""
    slots = flat_slots(tx, state, params)
    if not slots:
        return state
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    first = jax.tree.leaves(tx.init(params), is_leaf=is_hole)
    for i, (raveled, _) in slots.items():
        x = raveled.raveled(leaves[i])
        leaves[i] = jnp.where(raveled.is_entry(x, leaves[i].size), x, first[i].astype(x.dtype))
    return treedef.unflatten(leaves)


def _within(tx: Any, prefix: str = "", around: Flat | None = None) -> Iterator[tuple[tuple[str, str], Flat]]:
    """The links that run a rule on flat leaves, by prefix and name, each with what makes leaves flat."""
    link = definition_of(tx)
    if link is None:
        return
    around = link if isinstance(link, Flat) else around
    if isinstance(link, Runner) and around is not None:
        yield (prefix, link.name), around
    for name, child in link.children().items():
        yield from _within(child, dotted(prefix, name), around)


def _chosen(flat: Flat, params: Any) -> tuple[Raveled, set[int]]:
    """Which parameters are flat, by their numbers among the leaves, holes included."""
    inside = Door(flat, params, params).params
    raveled = flat.raveled(inside)
    flags = iter(raveled.flat)
    leaves = jax.tree.leaves(inside, is_leaf=is_hole)
    return raveled, {i for i, x in enumerate(leaves) if not is_hole(x) and next(flags)}
