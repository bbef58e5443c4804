"""The optimizer's state for a model that has grown: means of gradients and of their squares grow along."""

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from optchain.core.definition import Definition
from optchain.core.dense import Dense
from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves, names_of
from optchain.core.rule import KEPT_BY_THE_LINK
from optchain.core.runner import Runner
from optchain.inspect.entries import entries
from optchain.inspect.migrate import Report, migrate_state
from optchain.packing.packed_state import without_packing
from optchain.sharding.axes import Follows, followed, tables
from optchain.sharding.distributed import without_owners
from optchain.sharding.owned_state import state_by_parameters

DEGREES = {"mean": 1, "drift": 1, "square": 2, "sum": 2}  # of the kinds of slots in the gradients
PARAMETER = "parameter"  # a slot that is a mean of parameters, or was one, and begins as the parameter
WAY = "way"  # a slot that is a mean of differences of parameters, and begins as 0
# Slots of another degree: parameters, the weight that the mean of a leaf has seen, and means of updates whose size does
# not depend on that of the gradients; and what wrappers keep, whose gradients have not passed a technique yet.
MORE: dict[str, dict[str, Any]] = {
    "accumulate": {"mean": 1},
    "average_params": {"average": PARAMETER, "log": 0, "lost": 0},
    "decay_to_init": {"initial": PARAMETER},
    "differentially_private_accumulate": {"sum": 1},
    "ema_nesterov": {"mu": WAY},
    "lookahead": {"slow": PARAMETER},
    "outer_nesterov": {"outer": PARAMETER},
    "polyak_average": {"average": PARAMETER},
    "scale_by_adopt": {"mu": 0},
    "scale_by_laprop": {"mu": 0},
    "schedule_free": {"z": PARAMETER},
    "snapshot_params": {"snapshot": PARAMETER},
}
# Kinds whose slots are not homogeneous: what has been stepped, or the parameter, is part of them.
OTHERS = ("ftrl", "scale_by_adadelta")


def grown_state(sources: Mapping[str, Any], state: Any, tx: Any, old: Any, new: Any, after: Any) -> tuple[Any, Report]:
    """The state for the larger model; see `Growth.state`.

    Raises:
        ValueError: the state is not that of the transformation and the small model.
    """
    plain = without_packing(without_owners(tx))
    by_leaf = state if plain is tx else state_by_parameters(tx, state, old)
    if jax.tree.structure(by_leaf) != jax.tree.structure(jax.eval_shape(plain.init, old)):
        raise ValueError("grow: the state is not that of tx for the small model; migrate_state makes it so")
    plain = without_packing(without_owners(after))
    before, fresh = dict(named_leaves(by_leaf)), plain.init(new)
    names, (leaves, treedef) = names_of(fresh), jax.tree.flatten(fresh)
    held = jax.tree.leaves(fresh, is_leaf=is_hole)
    targets = [x for x, leaf in zip(followed(plain, fresh, new), held, strict=True) if not is_hole(leaf)]
    numbers = treedef.unflatten(range(len(leaves)))
    degrees, params = _degrees(plain, numbers), named_leaves(new, is_leaf=is_hole)
    owner = {i: entry.name for entry in entries(numbers).values() for i in entry.slots.values()}
    again: set[str] = set()
    grown = list(leaves)
    for i, (name, x, follows) in enumerate(zip(names, leaves, targets, strict=True)):
        if not isinstance(follows, Follows):
            if name in before and np.shape(before[name]) == np.shape(x):
                grown[i] = before[name]
            continue
        path, p = params[follows.param]
        source, degree = sources[path], degrees.get(i)
        is_whole = follows.axes == tuple(range(p.ndim)) or (degree == 0 and np.shape(x) == ())
        there = None if source.path is None else f"{name.removesuffix(path)}{source.path}"
        if there is not None and there not in before:  # of a leaf that another link had before
            continue
        if not source.is_changed:
            grown[i] = before[name] if there is None else before[there]
        elif degree is None or not is_whole or not name.endswith(path):
            again.add(owner[i])
        elif there is not None and np.shape(x) == () != p.shape:
            grown[i] = before[there]
        elif there is not None and degree == PARAMETER:
            grown[i] = source.value(before[there], x)
        elif there is not None and degree == WAY:
            grown[i] = source.moved(before[there], x)
        elif there is not None:
            grown[i] = source.slot(before[there], x, degree)
    return migrate_state(treedef.unflatten(grown), after, new, dict.fromkeys(sorted(again)))


def _degrees(tx: Any, numbers: Any) -> dict[int, Any]:
    """The degree of slots in the gradients, by the number of the leaf; a slot whose degree is not known has none."""
    found: dict[int, Any] = {}
    for link, table in tables(tx, numbers, Definition):
        coded = isinstance(link, Dense) and link.storage.in_codes
        more = MORE.get(link.name, {})
        kinds = link.rule.kinds if isinstance(link, Runner) and not coded and link.name not in OTHERS else {}
        known = {slot: DEGREES[kind.word] for slot, kind in kinds.items()} | ({} if coded else more)
        for slot, degree in known.items():
            if slot in table and slot not in KEPT_BY_THE_LINK:
                found |= dict.fromkeys(jax.tree.leaves(table[slot]), degree)
    return found
