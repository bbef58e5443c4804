"""An elementwise law on one part of a large leaf after another, so that only one part of it is ever in float32."""

import math
from collections.abc import Callable
from typing import Any

import jax

from optchain.storage.codes import Code, Packed

# Entries of a part. On a CPU it stays in the cache; elsewhere each part is a few launches, and a part of this size
# takes some dozens of MB.
CPU, OTHER = 2**15, 2**22


def part_size() -> int:
    """How many entries are in float32 at a time."""
    return CPU if jax.default_backend() == "cpu" else OTHER


def unit_of(shape: tuple[int, ...], codes: list[Code]) -> int:
    """How many entries stay together: those of a block, where all codes have the same full ones, or of a row."""
    layouts = {code.blocks(shape) for code in codes}
    at = next(iter(layouts))
    return at.length if len(layouts) == 1 and at.even else math.lcm(*(at.n for at in layouts))


def in_parts(
    law: Callable[[Any, Any, Any], Any], shape: tuple[int, ...], unit: int, kept: Any, read: Any, t: jax.Array
) -> Any:
    """What the law makes of `kept`, part by part and in place.

    Args:
        law: from the index of the part's first entry, and the parts of `kept` and of `read`, to the new part of `kept`.
        shape: of the leaf.
        unit: how many entries stay together.
        kept: arrays of the leaf's shape, and `Packed` ones, which become their successors.
        read: arrays of the leaf's shape.
        t: any count that is not known while compiling, and not negative.
    """
    units = math.prod(shape) // unit
    flat = lambda x: x.reshape(units, x.size // units)  # noqa: E731
    part = lambda i, kept, read: law(i * unit, kept, read)  # noqa: E731
    new = in_rows(part, unit, jax.tree.map(flat, kept), jax.tree.map(flat, read), t)
    return jax.tree.map(lambda x, old: x.reshape(old.shape), new, kept)


def in_rows(law: Callable[[Any, Any, Any], Any], size: int, kept: Any, read: Any, t: jax.Array) -> Any:
    """What the law makes of `kept`, some rows at a time and in place.

    Args:
        law: from the number of the first row, and the rows of `kept` and of `read`, to the new rows of `kept`.
        size: how many entries a row stands for, of which parts of `part_size` are made.
        kept: arrays with the same number of rows, which become their successors.
        read: arrays with as many rows.
        t: any count that is not known while compiling, and not negative.
    """
    units, most = len(jax.tree.leaves(kept)[0]), max(1, part_size() // size)
    rows = next((n for n in range(most, most // 4, -1) if units % n == 0), most)  # even parts if they are not too small
    # XLA on a CPU fuses the slice of the old codes into what overwrites them in place, and then copies all of them in
    # every round. A branch that it cannot foresee keeps the two apart, and has a derivative, as a loop has not.
    always = t >= 0

    def step(start: Any, count: int, kept: Any) -> Any:
        cut = lambda x: jax.lax.dynamic_slice_in_dim(x, start, count)  # noqa: E731
        own, others = jax.tree.map(cut, kept), jax.tree.map(cut, read)
        own = jax.lax.cond(always, lambda part: law(start, part, others), lambda part: part, own)
        return jax.tree.map(lambda x, part: jax.lax.dynamic_update_slice_in_dim(x, part, start, 0), kept, own)

    kept = jax.lax.fori_loop(0, units // rows, lambda i, kept: step(i * rows, rows, kept), kept)
    return step(units - units % rows, units % rows, kept) if units % rows else kept


def is_packed(x: Any) -> bool:
    """Whether this is a slot in a code."""
    return isinstance(x, Packed)
