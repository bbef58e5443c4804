"""The state of a transformation whose matrices have owners or whose leaves are flat, by the parameters, and back."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.boxes import boxes_of
from optchain.core.form import Form
from optchain.core.parts import Parts
from optchain.core.rule import KEPT_BY_THE_LINK
from optchain.packing.packed_state import with_buffers, with_trees
from optchain.sharding.axes import tables
from optchain.sharding.distributed import without_owners
from optchain.sharding.flat_state import with_flat_slots, with_shapes_of_parameters
from optchain.sharding.owned import Owned
from optchain.sharding.recoded import leaves_to_cut, leaves_to_keep, pieces_to_deal, pieces_to_join
from optchain.sharding.stacks import each, leaf_of, pieces_of
from optchain.storage.codes import Packed
from optchain.storage.dealt import apart, together


def state_by_parameters(tx: optax.GradientTransformation, state: Any, params: Any) -> Any:
    """The state of the same transformation without owners: what a checkpoint keeps, and any other mesh goes on with.

    Slots that `flat` keeps flat are whole in it, in the shapes of their parameters, as they are on one device; packed
    slots are trees like the parameters that were packed. Slots in codes (`precision`) keep these bit for bit where the
    blocks of a leaf are those of its matrices; where a view or short rows make other blocks they are decoded, and
    encoded as one device does, which costs one more rounding. `state_by_owners` does the same on the way back.

    Args:
        tx: a transformation made by `distributed`, `flat` or `packed`, or one around them.
        state: a state of it.
        params: the parameters on the mesh of the state.

    Returns:
        The state that `tx` without `distributed` has, with the same numbers. Each slot is whole on each device.

    Raises:
        ValueError: a state of another number of owners than the mesh of the parameters has.
    """
    plain = dict(enumerate(table for _, table in tables(tx, jax.eval_shape(without_owners(tx).init, params))))

    def named(number: int, link: Owned, table: dict[str, Any]) -> dict[str, Any]:
        plan, Slots = link.plan(link.chosen(params), state), link.Slots
        columns = {}
        for name, held in link.by_array(plan, {name: table[name] for name in Slots._fields}).items():
            found = {
                key: deal.collected(name, held[key]) if key in held else [None] * len(deal.members)
                for key, deal in plan.deals.items()
            }
            columns[name] = plan.whole(found)
        arrays = [{name: column[i] for name, column in columns.items()} for i in range(len(plan.pieces))]
        pieces = [Slots(**together(link.storage, Slots._fields, own)) for own in arrays]
        rows = leaves_to_keep(link, plan, plan.by_leaf(_joined, pieces_to_join(link, plan, pieces)))
        kept = {name: table[name] for name in KEPT_BY_THE_LINK if name in table}
        for name in Slots._fields:
            column = [x for row in rows if (x := getattr(row, name)) is not None]
            own = [x.codes if isinstance(x, Packed) else x for x in column]
            own += [x.scales for x in column if isinstance(x, Packed)]
            kept[name] = jax.tree.structure(plain[number][name]).unflatten(own)
        return kept

    return with_trees(tx, with_shapes_of_parameters(tx, _changed(tx, state, named), params), params)


def state_by_owners(tx: optax.GradientTransformation, state: Any, params: Any) -> Any:
    """The state of a transformation made by `distributed`, `flat` or `packed`, from that of `state_by_parameters`.

    Args:
        tx: a transformation made by `distributed`, `flat` or `packed`, or one around them.
        state: a state of the same transformation without owners, as `state_by_parameters` returns it.
        params: the parameters, on the mesh that the state is for.

    Returns:
        A state of `tx`, each stack with its owners, each flat slot split.

    Raises:
        ValueError: a state of other slots or parameters.
    """

    def stacked(number: int, link: Owned, table: dict[str, Any]) -> dict[str, Any]:
        plan = link.plan(link.chosen(params))
        slots = {name: x for name, x in table.items() if name not in KEPT_BY_THE_LINK}
        rows = link.rows(slots, plan.treedef, boxes_of(plan.treedef))
        rows = leaves_to_cut(link, plan, rows)
        pieces = [piece for form, row in zip(plan.forms, rows, strict=True) for piece in _apart(form, row)]
        arrays = [apart(link.storage, piece._asdict()) for piece in pieces_to_deal(link, plan, pieces)]
        made: dict[str, dict[str, Any]] = {}
        for key, deal in plan.deals.items():
            columns = {
                name: [None if (x := arrays[own.piece].get(name)) is None else own.rows(x) for own in deal.members]
                for name in link.arrays
            }
            held = {name: deal.held(name, column) for name, column in columns.items()}
            made[key] = {name: x for name, x in held.items() if x is not None}
        return {name: table[name] for name in KEPT_BY_THE_LINK if name in table} | link.by_slot(made)

    state = with_buffers(tx, state, params)
    return with_flat_slots(tx, _changed(tx, state, stacked), params)


def _changed(tx: Any, state: Any, change: Callable[[int, Owned, dict[str, Any]], dict[str, Any]]) -> Any:
    """The state with other tables of the links whose matrices have owners."""
    state = jax.tree.map(lambda x: x, state)  # in the order of a state that has been through `jit`
    numbered = enumerate(tables(tx, state))
    new = {id(table): change(i, link, table) for i, (link, table) in numbered if isinstance(link, Owned)}
    return jax.tree.map(lambda x: new.get(id(x), x), state, is_leaf=lambda x: id(x) in new)


def _joined(form: Form, pieces: list[Any], shape: tuple[int, ...]) -> Any:
    """The slots of a leaf from those of its pieces."""
    parted = form.view
    if isinstance(parted, Parts):
        outer = shape[: form.depth]
        parts = [
            jax.tree.map(lambda x, shown=shown: x.reshape(*outer, *shown[: form.shown_depth], *x.shape[1:]), piece)
            for piece, shown in zip(pieces, parted.view.shown, strict=True)
        ]
        return each(parted.together, form.depth)(parts)
    return jax.tree.map(lambda x: leaf_of(form, [x], shape), pieces[0])


def _apart(form: Form, row: Any) -> list[Any]:
    """The slots of the pieces of a leaf, each a stack for its matrices."""
    row = jax.tree.map(jnp.asarray, row)
    if isinstance(form.view, Parts):
        inner = form.depth + form.shown_depth
        parts = each(form.view.apart, form.depth)(row)
        return jax.tree.map(lambda x: x.reshape(math.prod(x.shape[:inner]), *x.shape[inner:]), parts)
    return [jax.tree.map(lambda x: pieces_of(form, x)[0], row)]
