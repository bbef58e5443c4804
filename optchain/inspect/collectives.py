"""What the devices of a mesh send one another, read off a compiled program."""

import dataclasses
import re

import numpy as np

KINDS = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
LINE = re.compile(rf"= (.*?) ({KINDS})(?:-start)?\(")
ARRAY = re.compile(r"([a-z]+\d+)\[([\d,]*)\]")
WIDTHS = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f64": 8, "s64": 8, "u64": 8}  # bytes; else 4


@dataclasses.dataclass(frozen=True)
class Sent:
    """The collectives of one kind."""

    count: int
    bytes: int  # of their results


def collectives(text: str) -> dict[str, Sent]:
    """The collectives of a compiled program by kind, each counted once, also within a loop.

    Args:
        text: what `compiled.as_text()` gives.
    """
    found: dict[str, Sent] = {}
    for shapes, kind in LINE.findall(text):
        arrays = [(width, [int(n) for n in dims.split(",") if n]) for width, dims in ARRAY.findall(shapes)]
        size = sum(WIDTHS.get(width, 4) * int(np.prod(dims, initial=1)) for width, dims in arrays)
        before = found.get(kind, Sent(0, 0))
        found[kind] = Sent(before.count + 1, before.bytes + size)
    return found


def sent_by_each(found: dict[str, Sent], devices: int) -> int:
    """The bytes that each device sends, where that many stand in a ring: a sum goes round twice, all else once."""
    others = devices - 1
    part = {"all-reduce": 2 * others / devices, "reduce-scatter": others, "collective-permute": 1}
    return round(sum(x.bytes * part.get(kind, others / devices) for kind, x in found.items()))
