"""Slots: the NamedTuple of a rule's, the trees that hold them in a state, and what does not fit there."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.paths import names_of
from optchain.core.rule import KEPT_BY_THE_LINK, core_of


def nested(trees: dict[str, Any]) -> dict[str, Any]:
    """The slots from the trees that hold them, `mu/codes` as the entry `codes` of `mu`."""
    slots: dict[str, Any] = {}
    for key, tree in trees.items():
        slot, _, part = key.partition("/")
        if part:
            slots.setdefault(slot, {})[part] = tree
        else:
            slots[slot] = tree
    return slots


class NoSlots(NamedTuple):
    """The slots of a rule that remembers nothing."""


def slots_of(rule: Any) -> type[Any]:
    """The NamedTuple of a rule's slots."""
    slots = jax.eval_shape(rule.init, jax.ShapeDtypeStruct((1,) * (core_of(rule, 2) or 0), jnp.float32))
    if slots != () and not hasattr(slots, "_fields"):
        made = type(slots).__name__
        raise ValueError(f"{type(rule).__name__}.init must return a NamedTuple of arrays or (), got {made}")
    for name in set(getattr(slots, "_fields", ())) & set(KEPT_BY_THE_LINK):
        raise ValueError(f"{type(rule).__name__}: no slot can be called {name!r}, which the link keeps; rename it")
    return type(slots) if slots else NoSlots


def shapes_of(rule: Any, form: Any, p: Any) -> Any:
    """The slots of a parameter as its law sees them, abstract."""
    wide = jax.ShapeDtypeStruct(p.shape, jnp.promote_types(p.dtype, jnp.float32))
    return jax.eval_shape(form.over(rule.init), wide)


def unheld(owner: str, slot: str, tree: Any, updates: Any) -> ValueError:
    """Which leaf has a slot and no update, or the other way round."""
    held, given = (set(names_of(x)) for x in (tree, updates))
    if isinstance(tree, dict) and tree.keys() == {"codes", "scales"} != given:
        cure = "this transformation keeps it in float32: see `oc.precision` and `oc.migrate_state`"
        return ValueError(f"{owner}: the slot {slot!r} is in codes in this state, and {cure}")
    leaf = next(iter(sorted(held ^ given)), "")
    state = "held" if leaf in held else "not held"
    problem = f"the slot {slot!r} is {state} for leaf {leaf!r}, which is {'left out' if leaf in held else 'there'} now"
    return ValueError(f"{owner}: {problem}; update with the structure that init had, and with the parameters")
