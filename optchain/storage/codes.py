"""Codes for slots: blocks of entries along the last axis have one float32 scale, and each entry a level of a few bits.

Levels are even in a root of the magnitude over its block's largest: closed forms, for a table would cost ten times the
time. What is 0 stays exactly 0. A block with an entry that is not finite has no finite scale, and all of it reads back
as not finite: a guard outside sees it.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.kinds import SQUARE, SUM, Kind
from optchain.core.numerics import TINY

SHORT = 32  # a last axis of fewer entries is merged with the one before it


class Packed(NamedTuple):
    """A slot in a code: whole levels, and the largest magnitude of each block."""

    codes: jax.Array
    scales: jax.Array

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    @property
    def dtype(self) -> Any:
        return self.codes.dtype


class Blocks(NamedTuple):
    """How the entries of one shape are cut into blocks: the last axes as one axis, and that into even blocks."""

    lead: tuple[int, ...]  # the axes before the one that is cut
    n: int  # the length of the axis that is cut
    blocks: int
    length: int  # of a block; the last one may be shorter

    @property
    def even(self) -> bool:
        """Whether all blocks are full."""
        return self.blocks * self.length == self.n


@dataclasses.dataclass(frozen=True)
class Code:
    """How magnitudes become levels."""

    bits: int  # 4, 8 or 16
    signed: bool
    power: int  # the levels are even in this root of the magnitude: 1, 2 or 4
    random: bool  # rounding is up or down at random, exact on average; else to nearest
    least: int = 0  # the least level of what is positive: with 1, nothing positive becomes 0
    block: int = 128

    @property
    def top(self) -> int:
        """The level of the largest magnitude."""
        return 2 ** (self.bits - self.signed) - 1

    @property
    def dtype(self) -> str:
        """What the levels are kept in; two levels of 4 bits share a byte."""
        return "uint8" if self.bits == 4 else f"{'' if self.signed else 'u'}int{self.bits}"

    def blocks(self, shape: tuple[int, ...]) -> Blocks:
        """The blocks of a shape. The first of several axes is not merged: it may count the rows of a table."""
        *lead, n = list(shape)
        while len(lead) > 1 and n < SHORT:
            n *= lead.pop()
        length = math.ceil(n / math.ceil(n / self.block)) if n else 1
        length += self.bits == 4 and length % 2
        return Blocks(tuple(lead), n, math.ceil(n / length), length)

    def stacks(self, shape: tuple[int, ...]) -> bool:
        """Whether a stack of arrays of this shape has the blocks of each of them."""
        lead, *rest = self.blocks(shape)
        return self.blocks((1, *shape)) == ((1, *lead), *rest)

    def shapes(self, shape: tuple[int, ...]) -> Packed:
        """The shapes of the codes and of the scales of an array."""
        at = self.blocks(shape)
        codes = (*at.lead, at.blocks * at.length // 2) if self.bits == 4 else shape
        return Packed(codes, (*at.lead, at.blocks))  # pyright: ignore

    def encode(self, x: jax.Array, bits: jax.Array | None = None) -> Packed:
        """A float32 array in this code; `bits` are random uint32 of its shape, where rounding is random."""
        at = self.blocks(x.shape)
        size = _in_blocks(jnp.abs(x), at)
        scales = jnp.max(size, axis=-1)
        # XLA divides by a product with the inverse, which is 0 for the largest scales: these are made smaller first.
        down = jnp.where(scales > 2.0**64, 2.0**-64, 1)
        part = size * down[..., None] / jnp.where(scales == 0, 1, scales * down)[..., None]
        level = jnp.clip(self._root(part) * self.top, 0, self.top)
        if bits is None:
            whole = jnp.floor(level + 0.5)
        else:
            below = jnp.minimum(jnp.floor(level), self.top - 1)
            low, high = self._raised(below), self._raised(below + 1)
            chance = (_in_blocks(bits, at) >> 8).astype(jnp.float32) * 2.0**-24
            whole = jnp.where(part - low > chance * (high - low), below + 1, below)
        whole = jnp.where(size == 0, 0, jnp.maximum(whole, self.least))
        if self.signed:
            whole = jnp.where(_in_blocks(x, at) < 0, -whole, whole)
        if self.bits != 4:
            return Packed(_from_blocks(whole.astype(self.dtype), at, x.shape), scales)
        nibbles, half = whole.astype(jnp.int8).astype(jnp.uint8) & 15, at.length // 2
        codes = nibbles[..., :half] | (nibbles[..., half:] << 4)
        return Packed(codes.reshape(self.shapes(x.shape).codes), scales)

    def decode(self, packed: Packed, shape: tuple[int, ...]) -> jax.Array:
        """The float32 array of this shape whose code this is."""
        at = self.blocks(shape)
        if self.bits == 4:
            pairs = packed.codes.reshape(*at.lead, at.blocks, at.length // 2)
            level = jnp.concatenate([pairs & 15, pairs >> 4], axis=-1).astype(jnp.int32)
            level = jnp.where(level > 7, level - 16, level) if self.signed else level
        else:
            level = _in_blocks(packed.codes, at).astype(jnp.int32)
        x = self._raised(jnp.abs(level).astype(jnp.float32)) * packed.scales[..., None]
        if self.least:  # the least level of a small block may lie below all normal numbers
            x = jnp.where(level == 0, x, jnp.maximum(x, TINY[x.dtype]))
        return _from_blocks(jnp.where(level < 0, -x, x) if self.signed else x, at, shape)

    def _root(self, part: jax.Array) -> jax.Array:
        for _ in range(self.power // 2):
            part = jnp.sqrt(part)
        return part

    def _raised(self, level: jax.Array) -> jax.Array:
        """The magnitude of a level, as a part of its block's largest."""
        part = level / self.top
        for _ in range(self.power // 2):
            part = jnp.square(part)
        return part

    def __str__(self) -> str:
        return f"int{self.bits}"


def _in_blocks(x: jax.Array, at: Blocks) -> jax.Array:
    """The array as [..., blocks, entries of a block], the last block filled up with zeros."""
    x = x.reshape(*at.lead, at.n)
    if not at.even:
        x = jnp.pad(x, [(0, 0)] * len(at.lead) + [(0, at.blocks * at.length - at.n)])
    return x.reshape(*at.lead, at.blocks, at.length)


def _from_blocks(x: jax.Array, at: Blocks, shape: tuple[int, ...]) -> jax.Array:
    x = x.reshape(*at.lead, at.blocks * at.length)
    return x[..., : at.n].reshape(shape)


def code_of(kind: Kind, bits: int) -> Code:
    """The code of a kind of slot with this many bits for each entry.

    Squares have levels even in the fourth root, because an update is divided by their root, and are rounded at random:
    a decay of 0.999 moves them by less than half a level. A mean of few bits is rounded to nearest, because a small
    entry that random rounding lifts to a whole level is divided by a small root. In a slow mean, which nearest rounding
    would leave where it is, levels are finer and rounding is random.
    """
    is_square = kind in (SQUARE, SUM)
    return Code(
        bits,
        signed=not is_square,
        power=4 if is_square else 2,
        random=is_square or bits == 16,
        least=int(is_square),
        block=64 if bits == 4 else 128,
    )
