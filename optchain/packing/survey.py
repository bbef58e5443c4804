"""What a transformation does to each leaf, which says what may share a buffer, and the same one on buffers."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax

from optchain.core import describe
from optchain.core.chain import Chain
from optchain.core.dense import Dense
from optchain.core.holes import part
from optchain.core.joint import Joint
from optchain.core.layers import Layers, depths
from optchain.core.mask import Choice, chooses, label, select
from optchain.core.numbers import seeds
from optchain.core.paths import matches, named_leaves
from optchain.core.transform import definition_of, ours, transform
from optchain.core.walk import dotted
from optchain.masking.groups import Groups
from optchain.masking.rules import Group, assign
from optchain.packing.layout import ALONE, FLAT, STACK, Layout, layout
from optchain.storage.stacked import Coded, coded_slots, in_stacks

Rebuilt = Callable[[list[str]], Any]  # a transformation, from the key of the buffer of each leaf
RANK = {FLAT: 0, STACK: 1, ALONE: 2}


class Survey:
    """A walk through a transformation with the leaves that reach each part of it.

    Args:
        tx: techniques, chains and groups of them.
        tree: like the parameters.
        axis: the mesh axis that flat buffers are split over.
    """

    def __init__(self, tx: Any, tree: Any, axis: str | None) -> None:
        pairs = named_leaves(tree)
        self.tree, self.names, self.axis = tree, [name for name, _ in pairs], axis
        self.notes: list[list[Any]] = [[] for _ in pairs]
        self.kinds = [FLAT] * len(pairs)
        self.counting: list[str] = []  # techniques that may depend on how many entries there are
        self._rebuilt = self._visit(tx, list(range(len(pairs))), "")

    def layout(self, axis: str | None, parts: int) -> Layout:
        """The buffers that the leaves share."""
        notes = [(kind, tuple(note)) for kind, note in zip(self.kinds, self.notes, strict=True)]
        made = layout(self.names, self.tree, notes, axis, parts)
        if self.counting and any(made.padding(buffer) for buffer in made.buffers):
            problem = f"{self.counting[0]} may depend on how many entries there are, as its rule has no `ignores_zeros`"
            cure = "leave out axis, or put it before or after packed(...)"
            raise ValueError(f"packed: {problem}, and buffers over {axis!r} are padded with zeros; {cure}")
        return made

    def on_buffers(self, keys: tuple[str, ...]) -> Any:
        """The transformation of packed trees."""
        return self._rebuilt(list(keys))

    def _visit(self, tx: Any, numbers: list[int], prefix: str) -> Rebuilt:
        """One transformation, of the leaves with these numbers."""
        link = definition_of(tx)
        visits: dict[Any, Callable[[Any, list[int], str], Rebuilt]] = {
            Chain: self._chain,
            Groups: self._groups,
            Dense: self._dense,
            Joint: self._joint,
        }
        visit = visits.get(type(link))
        if visit is None:
            what = repr(prefix or describe.technique(tx))
            kind = "a wrapper or a transformation with a law of its own" if ours(tx) else "a transformation of optax"
            cure = "put it outside: wrappers and chains around packed(...) take packed parameters"
            raise ValueError(f"packed: {what} is {kind}, and packed cannot tell what it makes of each leaf; {cure}")
        return visit(link, numbers, prefix)

    def _chain(self, link: Chain, numbers: list[int], prefix: str) -> Rebuilt:
        links = [(name, self._visit(tx, numbers, dotted(prefix, name))) for name, tx in link.links]
        return lambda keys: transform(
            dataclasses.replace(link, links=tuple((name, make(keys)) for name, make in links))
        )

    def _groups(self, link: Groups, numbers: list[int], prefix: str) -> Rebuilt:
        taken = assign(link.rules, self._part(numbers), link.layers)
        for i, rule in zip(numbers, taken, strict=True):
            self.notes[i].append(rule)
        made = {}
        for name, tx, rules in link.members():
            inside = [i for i, rule in zip(numbers, taken, strict=True) if rule in rules]
            made[name] = self._visit(tx, inside, dotted(prefix, name))
        own = {rules[0]: name for name, _, rules in link.members() if name}

        def rebuilt(keys: list[str]) -> Any:
            rules = []
            for n, group in enumerate(link.rules):
                here = frozenset(keys[i] for i, rule in zip(numbers, taken, strict=True) if rule == n)
                if here or n in own:  # frozen leaves may be out of the tree
                    rules.append(Group(OnBuffers(group.mask, here), made[own[n]](keys) if n in own else group.what))
            return transform(dataclasses.replace(link, inner=made[""](keys), rules=tuple(rules), layers=None))

        return rebuilt

    def _dense(self, link: Dense, numbers: list[int], prefix: str) -> Rebuilt:
        inside = self._inside(link, numbers)
        coded = self._coded(link, numbers, inside, prefix)
        counts = dict(zip(numbers, depths(link.layers, self._part(numbers)), strict=True))
        elementwise = link.rule.core_ndim == 0 and not seeds(type(link.rule))
        kind = ALONE if "path" in link.rule.extras else FLAT if elementwise else STACK
        for i in numbers:
            # An elementwise law never asks for layers and views.
            shown = (counts[i], self._view(link, i)) if i in inside and not elementwise else None
            self.notes[i].append((i in inside, shown, tuple(coded[i].slots) if i in coded else ()))
            if i in inside:
                own = FLAT if not coded[i].slots else STACK if coded[i].stacks else ALONE
                self.kinds[i] = max(self.kinds[i], kind, own, key=RANK.__getitem__)

        def rebuilt(keys: list[str]) -> Any:
            mask = None if link.mask is None else OnBuffers(link.mask, frozenset(keys[i] for i in inside))
            storage = in_stacks(link.storage, self._members(coded, keys))
            if elementwise:
                return transform(dataclasses.replace(link, mask=mask, layers=None, views={}, storage=storage))
            layers = Depths(tuple({keys[i]: counts[i] + (self.kinds[i] == STACK) for i in sorted(inside)}.items()))
            views = {keys[i]: text for i in sorted(inside) if (text := self._view(link, i)) is not None}
            return transform(dataclasses.replace(link, mask=mask, layers=layers, views=views, storage=storage))

        return rebuilt

    def _coded(self, link: Dense, numbers: list[int], inside: set[int], prefix: str) -> dict[int, Coded]:
        """By the numbers of the leaves that a technique applies to, which slots it keeps in few bits."""
        if link.storage.in_codes and self.axis is not None:
            problem = f"{prefix or link.name} keeps slots in few bits, whose leaves lie in stacks"
            cure = "leave out axis, or keep these slots in float32"
            raise ValueError(f"packed: {problem}, and axis={self.axis!r} splits flat buffers alone; {cure}")
        return dict(zip(sorted(inside), coded_slots(link, link.chosen(self._part(numbers))), strict=True))

    def _members(self, coded: dict[int, Coded], keys: list[str]) -> dict[str, tuple[list[str], dict[str, int]]]:
        """By the key of each buffer the names of its leaves, and the entries of each slot that is kept in few bits."""
        members: dict[str, tuple[list[str], dict[str, int]]] = {}
        for i, own in coded.items():
            sizes = {slot: math.prod(shape) for slot, shape in own.slots.items()}
            members.setdefault(keys[i], ([], sizes))[0].append(self.names[i])
        return members

    def _joint(self, link: Joint, numbers: list[int], prefix: str) -> Rebuilt:
        if seeds(type(link.rule)) or link.takes():
            raise ValueError(f"packed: {prefix or link.name} looks at each leaf by itself; put it before packed(...)")
        if not link.rule.ignores_zeros:
            self.counting.append(prefix or link.name)
        inside = self._inside(link, numbers)
        for i in numbers:
            self.notes[i].append(i in inside)

        def rebuilt(keys: list[str]) -> Any:
            mask = None if link.mask is None else OnBuffers(link.mask, frozenset(keys[i] for i in inside))
            return transform(dataclasses.replace(link, mask=mask))

        return rebuilt

    def _inside(self, link: Any, numbers: list[int]) -> set[int]:
        """The leaves that a technique applies to."""
        chosen = select(link.mask, self._part(numbers), link.layers)
        return {i for i, here in zip(numbers, chosen, strict=True) if here}

    def _view(self, link: Dense, number: int) -> str | None:
        """The matrix view that a technique has of a leaf."""
        views = link.views.items()
        return next((text for pattern, text in views if matches(self.names[number], pattern)), None)

    def _part(self, numbers: list[int]) -> Any:
        """The tree with holes for all other leaves."""
        wanted = set(numbers)
        return part(self.tree, [i in wanted for i in range(len(self.names))])


@dataclasses.dataclass(frozen=True)
class OnBuffers(Choice):
    """A mask of packed trees, from that of the leaves in them."""

    mask: Any
    keys: frozenset[str]

    def __str__(self) -> str:
        return label(self.mask)

    def over(self, tree: Any, layers: Layers | None = None) -> list[bool]:
        """One bool for each buffer."""
        return [key in self.keys for key, _ in named_leaves(tree)]

    def takes(self, path: str, leaf: Any) -> bool:
        """Whether it chooses a leaf that stands outside of the tree."""
        return chooses(self.mask, path, leaf)


@dataclasses.dataclass(frozen=True)
class Depths:
    """How many leading axes of each buffer count layers: one more in a stack than in its leaves."""

    table: tuple[tuple[str, int], ...]

    def __call__(self, path: str, leaf: jax.Array) -> int:
        return dict(self.table).get(path, 0)
