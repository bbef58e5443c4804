"""Slots in codes of leaves and of the matrices in them, whose blocks are the same or, behind a view, others."""

from collections.abc import Sequence
from typing import Any

import jax

from optchain.core.form import PLAIN
from optchain.sharding.deals import Member
from optchain.sharding.owned import Owned
from optchain.sharding.plan import Plan
from optchain.storage.codes import Code, Packed
from optchain.storage.dealt import at_place


def pieces_to_join(link: Owned, plan: Plan, pieces: Sequence[Any]) -> list[Any]:
    """The slots of each piece, in codes where the leaf has the same blocks, else decoded."""
    rows = []
    for i, piece in enumerate(pieces):
        shapes = link.slot_shapes(PLAIN, plan.pieces[i].shape[1:])
        decoded = jax.vmap(lambda x, shapes=shapes: _decoded(link, x, shapes))
        rows.append(_with(piece, decoded, _other_blocks(link, plan, plan.owner[i], piece)))
    return rows


def leaves_to_keep(link: Owned, plan: Plan, rows: Sequence[Any]) -> list[Any]:
    """The slots of each leaf as one device has them, from those that were joined."""
    kept = []
    for path, coded, row in zip(plan.paths, plan.coded, rows, strict=True):
        encoded = lambda plain, path=path: _encoded(link, link.storage, path, plain)  # noqa: E731
        kept.append(_with(row, encoded, [slot for slot in coded if _is_plain(link, slot, row)]))
    return kept


def leaves_to_cut(link: Owned, plan: Plan, rows: Sequence[Any]) -> list[Any]:
    """The slots of each leaf, in codes where its matrices have the same blocks, else decoded."""
    cut = []
    for i, row in enumerate(rows):
        shapes = link.slot_shapes(plan.forms[i], plan.leaves[i].shape)
        decoded = lambda x, shapes=shapes: _decoded(link, x, shapes)  # noqa: E731
        cut.append(_with(row, decoded, _other_blocks(link, plan, i, row)))
    return cut


def pieces_to_deal(link: Owned, plan: Plan, pieces: Sequence[Any]) -> list[Any]:
    """The slots of each piece as its owners have them."""
    dealt = []
    for i, piece in enumerate(pieces):
        numbers = link.origins(plan, Member(i, 0, len(plan.pieces[i])))
        one = jax.vmap(lambda plain, numbers: _encoded(link, at_place(link.storage, numbers), "", plain))
        encoded = lambda plain, one=one, numbers=numbers: one(plain, numbers)  # noqa: E731
        coded = plan.coded[plan.owner[i]]
        dealt.append(_with(piece, encoded, [slot for slot in coded if _is_plain(link, slot, piece)]))
    return dealt


def _with(row: Any, change: Any, names: Sequence[str]) -> Any:
    """Slots of which those with these names are changed."""
    return row._replace(**jax.jit(change)({name: getattr(row, name) for name in names})) if names else row


def _decoded(link: Any, slots: dict[str, Any], shapes: Any) -> dict[str, Any]:
    return {slot: link.storage.formats[slot].decode(x, getattr(shapes, slot).shape) for slot, x in slots.items()}


def _encoded(link: Any, storage: Any, path: str, slots: dict[str, Any]) -> dict[str, Any]:
    return {slot: storage.encoded(link.name, slot, path, x) for slot, x in slots.items()}


def _other_blocks(link: Any, plan: Plan, leaf: int, slots: Any) -> list[str]:
    """The slots in codes whose blocks in the leaf are not those in its matrices."""
    packed = [slot for slot, x in slots._asdict().items() if isinstance(x, Packed)]
    form = plan.forms[leaf]
    if form.view is not None or not packed:
        return packed
    shapes = link.slot_shapes(form, plan.leaves[leaf].shape)

    def same(slot: str) -> bool:
        code, shape = link.storage.formats[slot], getattr(shapes, slot).shape
        whole, own = code.blocks(shape), code.blocks(shape[form.depth :])
        return whole == own._replace(lead=shape[: form.depth] + own.lead)

    return [slot for slot in packed if not same(slot)]


def _is_plain(link: Any, slot: str, row: Any) -> bool:
    """Whether a slot that is kept in a code is not in it yet."""
    return isinstance(link.storage.formats[slot], Code) and not isinstance(getattr(row, slot), Packed)
