"""The laws of several links on one part of a large leaf after another, so that no link makes a whole array of it."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from optchain.core.chain import Chain
from optchain.core.dense import Dense
from optchain.core.law import Law
from optchain.core.numbers import seeds
from optchain.core.numerics import wide
from optchain.core.routing import Given
from optchain.core.spread import SPREAD
from optchain.core.transform import definition_of
from optchain.core.walk import definitions
from optchain.core.whole import part_from
from optchain.storage.chunks import in_parts, is_packed, unit_of


class Call(NamedTuple):
    """The law of one leaf at one link, with the arrays that it steps and reads."""

    law: Law
    codes: list[Any]
    slots: Any
    extras: dict[str, jax.Array]


@dataclasses.dataclass
class Together:
    """The calls of the links at the end of a transformation, which are noted down instead of being made.

    Args:
        links: the definitions of these links.
        leaves: the names of the leaves that are stepped part by part.
        updates: for each of them what the first of the links receives; where that is the gradient, in its own dtype.
    """

    links: list[Any]
    leaves: set[str]
    updates: dict[str, jax.Array]
    calls: dict[str, list[Call]] = dataclasses.field(default_factory=dict)
    fits: bool = True  # whether all slots are like their leaves

    def given(self, given: Given) -> Given:
        """What the transformation receives, so that its calls are noted down."""
        return dataclasses.replace(given, instead=self._instead)

    def _instead(self, law: Law, link: Any, leaf: str) -> Law:
        if leaf not in self.leaves or not any(link is x for x in self.links):
            return law

        def noted(g: Any, s: Any, p: Any, extras: dict[str, Any]) -> tuple[Any, Any]:
            arrays = [x for x in jax.tree.leaves((s, extras), is_leaf=is_packed) if not is_packed(x)]
            self.fits = self.fits and all(x.shape == g.shape for x in arrays)
            codes = [link.storage.formats[slot] for slot, x in s._asdict().items() if is_packed(x)]
            self.updates.setdefault(leaf, g)
            self.calls.setdefault(leaf, []).append(Call(law, codes, s, extras))
            return g, s

        return noted

    def stepped(self, leaf: str, stored: Any, view: Callable[..., Any], store: Callable[..., Any], t: Any) -> Any:
        """What is stored of a parameter after all of its laws, and their slots, overwritten part by part.

        Args:
            leaf: its name.
            stored: arrays of the parameter's shape.
            view: from a part of them to the parameter in float32.
            store: from a part of the new parameter and of `stored`, and the index of the first entry, to the new part.
            t: any count.
        """
        calls, update = self.calls[leaf], self.updates[leaf]

        def part(start: Any, kept: Any, read: Any) -> Any:
            stored, slots = kept
            u, p, news = wide(read[0]), view(*stored), []
            with part_from(start):
                for call, old, extras in zip(calls, slots, read[1], strict=True):
                    u, new = call.law(u, old, p, extras)
                    news.append(new)
            return store(start, stored, p + u), news

        codes = [code for call in calls for code in call.codes]
        unit = unit_of(update.shape, codes) if codes else update.shape[-1]
        kept, read = (stored, [call.slots for call in calls]), (update, [call.extras for call in calls])
        stored, slots = in_parts(part, update.shape, unit, kept, read, t)
        olds, news = (jax.tree.leaves(x) for x in (kept[1], slots))
        return stored, {id(old): new for old, new in zip(olds, news, strict=True)}


def together(tx: Any, grads: dict[str, jax.Array]) -> Together:
    """The links at the end of a transformation whose laws look at nothing but one entry, and the leaves that they step
    together, of which these are the gradients."""
    links = _in_order(tx)
    end = next((i for i, link in enumerate(reversed(links)) if not _is_elementwise(link)), len(links))
    last, everywhere = links[len(links) - end :], [id(link) for _, link in definitions(tx)]
    if SPREAD.get() is not None or any(everywhere.count(id(x)) > sum(x is y for y in last) for x in last):
        last = []  # a link that stands twice is known by its place alone
    return Together(last, {*grads} if last else set(), grads if end == len(links) else {})


def _in_order(tx: Any) -> list[Any]:
    link = definition_of(tx)
    if not isinstance(link, Chain):
        return [link]
    # A norm that is watched is one of whole arrays.
    return [x for _, inner in link.links for x in _in_order(inner)] + ([None] if link.watch else [])


def _is_elementwise(link: Any) -> bool:
    return (
        isinstance(link, Dense)
        and (type(link).run, type(link).law) == (Dense.run, Dense.law)
        and link.rule.core_ndim == 0
        and not seeds(type(link.rule))
        and "path" not in link.rule.extras
    )
