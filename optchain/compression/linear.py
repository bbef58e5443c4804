"""Codes of even levels for what is sent: blocks of entries with one float32 scale each."""

import math
from typing import Any

from optchain.storage.codes import Code

BLOCK = 512


def linear(bits: int, random: bool) -> Code:
    """The code of 4 or 8 bits whose levels are even."""
    return Code(bits, signed=True, power=1, random=random, block=BLOCK)


def checked_bits(owner: str, bits: int) -> None:
    """Bits are 4 or 8; all else is an error."""
    if bits not in (4, 8):
        raise ValueError(f"{owner}: bits must be 4 or 8, got {bits}")


def bytes_of(code: Code, shape: tuple[int, ...]) -> int:
    """The bytes of the code of an array, with its scales."""
    packed = code.shapes(shape)
    return math.prod(packed.codes) + 4 * math.prod(packed.scales)


def is_whole(code: Code, shape: tuple[int, ...], size: int) -> bool:
    """Whether the code of a shape takes no less room than a leaf of so many entries in float32."""
    return bytes_of(code, shape) >= 4 * size


def message(code: Code, x: Any) -> int:
    """The bytes of what is sent of a leaf as one vector: its code, or itself where that is no less."""
    shape = (x.size,)
    return x.size * x.dtype.itemsize if is_whole(code, shape, x.size) else bytes_of(code, shape)
