"""In which format each slot of a transformation is stored: what was asked for, and what the slot bears."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from jax.core import Tracer

from optchain.core.dense import Dense
from optchain.core.kinds import DRIFT
from optchain.core.mask import Mask
from optchain.core.numbers import Seed
from optchain.core.paths import nearest
from optchain.core.runner import Runner
from optchain.core.transform import Transform
from optchain.core.walk import definitions, rewritten
from optchain.storage.codes import Code, code_of
from optchain.storage.narrow import Narrow
from optchain.storage.storage import Storage

BITS = {"int4": 4, "int8": 8, "int16": 16}
FORMATS = ("float32", "bfloat16", *BITS)
SLOWEST = 0.99  # the largest decay of a mean that bears 8 bits


def stored(tx: Any, slots: str | Mapping[str, str], seed: Seed, min_size: int, mask: Mask | None) -> Transform:
    """The transformation whose links store their slots in these formats."""
    by_name = isinstance(slots, Mapping)
    if by_name:
        _require_slots(tx, slots)

    def change(link: Any) -> Any:
        if not isinstance(link, Dense):
            return link
        asked: Any = slots if by_name else dict.fromkeys(link.Slots._fields, slots)
        formats = {
            slot: format
            for slot in link.Slots._fields
            if (format := _format(link, slot, asked.get(slot, "float32"), by_name))
        }
        if not formats:
            return link
        if link.storage.in_codes:
            raise ValueError(f"precision: {link.name} stores {link.storage} already; ask for all slots once")
        return dataclasses.replace(link, storage=Storage(formats, seed, min_size, mask))

    return rewritten(tx, change)


def _format(link: Any, slot: str, word: str, by_name: bool) -> Code | Narrow | None:
    """The format of one slot: for a word that holds for all slots the narrowest that it bears and that is allowed."""
    if word not in BITS:
        return Narrow() if word == "bfloat16" else None
    kind, bits = link.rule.kinds.get(slot), BITS[word]
    if kind is None:
        if by_name:
            bear = ", ".join(map(repr, link.rule.kinds)) or "none of its slots"
            problem = f"the slot {slot!r} of {link.name} is not a mean, square, sum or drift and bears no code"
            raise ValueError(f"precision: {problem}; {bear} of it do, and bfloat16 is for all")
        return None
    least, reason = kind.least, f"is a {kind}"
    if kind.decay:
        decay = _known(getattr(link.rule, kind.decay))
        if decay is None and not by_name:
            least = 16
        elif decay is not None and decay > SLOWEST:
            kind, least, reason = DRIFT, 16, f"is a mean with {kind.decay}={decay:g}, above {SLOWEST}"
    if by_name and bits < least:
        problem = f"the slot {slot!r} of {link.name} {reason} and bears int{least}"
        raise ValueError(f"precision: {problem}, not {word}")
    return code_of(kind, max(bits, least))


def _known(decay: Any) -> float | None:
    """A decay, if it is a constant."""
    if isinstance(decay, Tracer) or not isinstance(decay, (float, jax.Array)):
        return None
    return float(decay)


def _require_slots(tx: Any, slots: Mapping[str, str]) -> None:
    """Each name is that of a slot of a link, and each word a format."""
    links = [link for _, link in definitions(tx)]
    names = {slot for link in links if isinstance(link, Dense) for slot in link.Slots._fields}
    whole = [link.name for link in links if isinstance(link, Runner) and not isinstance(link, Dense)]
    for slot, word in slots.items():
        if word not in FORMATS:
            raise ValueError(f"precision: slots[{slot!r}] is {word!r}; {nearest(str(word), FORMATS)}")
        if slot not in names:
            beside = f"; those of {', '.join(whole)} stay as they are" if whole else ""
            raise ValueError(f"precision: no link of tx has a slot {slot!r}; {nearest(str(slot), names)}{beside}")
