"""How the slots of one link are stored: each in a code, decoded for the law of a leaf and encoded after it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.axes import Axes
from optchain.core.dense import Dense
from optchain.core.gather import gathered, is_explicit, mesh_of, scattered
from optchain.core.keeping import Keeping
from optchain.core.law import Law
from optchain.core.mask import Mask, select
from optchain.core.numbers import Seed
from optchain.core.paths import named_leaves
from optchain.core.runner import Now
from optchain.core.slots import nested, shapes_of
from optchain.core.whole import part_from
from optchain.storage.chunks import in_parts, is_packed, part_size, unit_of
from optchain.storage.codes import Code, Packed
from optchain.storage.narrow import Narrow
from optchain.storage.rounding import random_bits


@dataclasses.dataclass(frozen=True)
class Storage(Keeping):
    """The formats of a link's slots by name; leaves with fewer entries, or that the mask chooses, stay in float32."""

    formats: Mapping[str, Code | Narrow]
    seed: Seed
    min_size: int
    mask: Mask | None

    in_codes = True

    def __str__(self) -> str:
        return " ".join(f"{slot}:{format}" for slot, format in self.formats.items())

    def bare(self) -> "Storage":
        return dataclasses.replace(self, min_size=0, mask=None)

    def keys(self, slot: str) -> tuple[str, ...]:
        return (f"{slot}/codes", f"{slot}/scales") if isinstance(self.formats.get(slot), Code) else (slot,)

    def in_one_axis(self, params: Any) -> set[str]:
        pairs = zip(named_leaves(params), self._staying(params), strict=True)
        return {leaf for (leaf, p), stays in pairs if p.ndim == 1 and p.size >= self.min_size and not stays}

    def trees(self, owner: str, slots: dict[str, Any]) -> dict[str, Any]:
        trees: dict[str, Any] = {}
        for slot, tree in slots.items():
            keys = self.keys(slot)
            if len(keys) == 1:
                trees[slot] = tree
                continue
            if not isinstance(tree, dict) or tree.keys() != {"codes", "scales"}:
                problem = f"the slot {slot!r} is in float32 in this state, and this transformation keeps it in"
                raise ValueError(f"{owner}: {problem} {self.formats[slot]}: see `oc.precision` and `oc.migrate_state`")
            trees |= dict(zip(keys, (tree["codes"], tree["scales"]), strict=True))
        return trees

    def columns(self, owner: str, slots: dict[str, Any], treedef: Any, boxes: Any) -> dict[str, list[Any]]:
        """The slots of all leaves from what the trees have of them; without scales, a slot is in float32."""
        columns = super().columns(owner, self.trees(owner, slots), treedef, boxes)
        return {
            slot: [codes if scales is None else Packed(codes, scales) for codes, scales in zip(*xs, strict=True)]
            if len(xs) == 2
            else xs[0]
            for slot in slots
            for xs in [[columns[key] for key in self.keys(slot)]]
        }

    def kept(self, names: Sequence[str], rows: list[Any], treedef: Any, boxed: Any = None) -> dict[str, Any]:
        keys, columns = [], []
        for i, name in enumerate(names):
            keys += self.keys(name)
            columns.append([row[i].codes if type(row[i]) is Packed else row[i] for row in rows])
            if isinstance(self.formats.get(name), Code):
                columns.append([row[i].scales if type(row[i]) is Packed else None for row in rows])
        return nested(super().kept(keys, list(zip(*columns, strict=True)), treedef, boxed))

    def axes(self, params: Any, shapes: list[Any], tables: list[dict[str, Axes]]) -> list[dict[str, Axes]]:
        return [self._arrays(table, own) for table, own in zip(tables, self.coded(params, shapes), strict=True)]

    def first(self, owner: str, params: Any, rows: list[Any]) -> list[Any]:
        packed = []
        for (leaf, _), row, own in zip(named_leaves(params), rows, self.coded(params, rows), strict=True):
            if row:
                # Else XLA encodes the constants that slots begin with while it compiles, for seconds and more.
                own = jax.lax.optimization_barrier(own)
                coded = {slot: self.encoded(owner, slot, leaf, x) for slot, x in own.items()}
                row = row._replace(**coded)
            packed.append(row)
        return packed

    def around(self, law: Law, link: Any, rule: Any, leaf: str, form: Any, now: Now) -> Law:
        def law_of_codes(*row: Any) -> tuple[Any, Any]:
            if self._is_cut(link, row, now):
                return self._parts(link, law, leaf, row, now)
            g, slots, p, extras = row
            shapes = None if link.rule.core_ndim == 0 else shapes_of(rule, form, g)
            full = (g, self._decoded(slots, g, shapes), p, extras)
            (u,), (new,) = link.checked([law(*full)], [full], {leaf: g})
            return u, self._again(link.name, leaf, slots, new, now.t)

        return law_of_codes

    def _parts(self, link: Any, law: Law, leaf: str, row: Any, now: Now) -> tuple[Any, Any]:
        """The law on one part of a leaf after another."""
        g, slots, p, extras = row
        codes: Any = [self.formats[slot] for slot, x in slots._asdict().items() if is_packed(x)]

        def part(start: Any, kept: Any, read: Any) -> Any:
            g, slots = kept
            full = (g, self._decoded(slots, g, None), *read)
            (u,), (new,) = link.checked([law(*full)], [full], {leaf: g})
            with part_from(start):
                return u, self._again(link.name, leaf, slots, new, now.t)

        return in_parts(part, g.shape, unit_of(g.shape, codes), (g, slots), (p, extras), now.t)

    def _is_cut(self, link: Any, row: Any, now: Now) -> bool:
        """Whether the law of a leaf may run part by part: it is large, elementwise, and on one device."""
        g, slots, _, _ = row
        if type(link).law is not Dense.law or link.rule.core_ndim != 0 or now.given.around is not None:
            return False
        arrays = [x for x in jax.tree.leaves(row, is_leaf=is_packed) if not is_packed(x)]
        return (
            g.size > part_size()
            and any(map(is_packed, slots))
            and "path" not in link.rule.extras
            and math.prod(mesh_of(g).shape.values()) == 1
            and all(x.shape == g.shape for x in arrays)
        )

    def _decoded(self, slots: Any, like: Any, shapes: Any) -> Any:
        """The slots in float32, those of the gradient's shape in its layout."""
        plain, shape = {}, like.shape
        for slot, x in slots._asdict().items():
            if slot in self.formats and (is_packed(x) or (x is not None and x.dtype == jnp.bfloat16)):
                own = shape if shapes is None else getattr(shapes, slot).shape
                new = self.formats[slot].decode(_whole_blocks(self.formats[slot], own, x), own)
                plain[slot] = scattered(new, like) if own == shape and is_explicit(like) else new
        return slots._replace(**plain)

    def _again(self, owner: str, leaf: str, slots: Any, new: Any, t: Any) -> Any:
        """The new slots, stored as the old ones are."""
        coded = {
            slot: jax.tree.map(_as_before, self.encoded(owner, slot, leaf, x, t), old)
            for slot, x, old in zip(slots._fields, new, slots, strict=True)
            if is_packed(old) or (x is not None and x.dtype != old.dtype)
        }
        return new._replace(**coded)

    def encoded(self, owner: str, slot: str, leaf: str, x: jax.Array, t: Any = 0) -> Any:
        """A slot in its format, or a part of one."""
        format = self.formats[slot]
        x = _whole_blocks(format, x.shape, x)
        bits = self.bits(x.shape, owner, slot, leaf, t) if format.random else None
        return format.encode(x, bits)  # pyright: ignore

    def bits(self, shape: tuple[int, ...], owner: str, slot: str, leaf: str, t: Any) -> jax.Array:
        """The random bits for a slot of a leaf, or for a part of it."""
        return random_bits(shape, self.seed, t, f"{owner}/{slot}/{leaf}")

    def coded(self, params: Any, rows: list[Any]) -> list[dict[str, Any]]:
        """For each leaf those of its slots that are stored in their formats."""
        return [
            {slot: x for slot, x in row._asdict().items() if self._packs(slot, x)} if row and not stays else {}
            for row, stays in zip(rows, self._staying(params), strict=True)
        ]

    def _packs(self, slot: str, x: Any) -> bool:
        """Whether a slot of a leaf that the mask does not choose is stored in its format."""
        if slot not in self.formats or x is None:
            return False
        return x.ndim > 0 and x.dtype == jnp.float32 and x.size >= self.min_size

    def _staying(self, params: Any) -> list[bool]:
        return [False] * len(jax.tree.leaves(params)) if self.mask is None else select(self.mask, params)

    def _arrays(self, table: dict[str, Axes], own: dict[str, Any]) -> dict[str, Axes]:
        """The axes that the slots of one parameter follow, and codes and scales of `own`, those in their formats."""
        followed: dict[str, Axes] = {}
        for slot, axes in table.items():
            keys, format = self.keys(slot), self.formats.get(slot)
            followed[keys[0]] = axes
            if isinstance(format, Code) and slot in own:
                lead = len(format.blocks(own[slot].shape).lead)
                blocks = (*axes[:lead], axes[-1] if lead == len(axes) - 1 else None)
                followed[keys[0]] = blocks if format.bits == 4 else axes
                followed[keys[1]] = blocks
        return followed


def _whole_blocks(format: Code | Narrow, shape: tuple[int, ...], x: Any) -> Any:
    """What is cut into blocks, with the axis that is cut whole on each device, on a mesh with explicit axes.

    An explicit axis that is split can be neither merged nor filled up.
    """
    if isinstance(format, Narrow) or not any(map(is_explicit, jax.tree.leaves(x))):
        return x
    at = format.blocks(shape)
    if at.even and len(at.lead) == len(shape) - 1:
        return x
    first = jax.tree.leaves(x)[0]  # scales may be split further than the codes
    return jax.tree.map(lambda part: gathered(part, len(at.lead), first), x)


def _as_before(new: jax.Array, old: jax.Array) -> jax.Array:
    return scattered(new, old) if is_explicit(old) else new
