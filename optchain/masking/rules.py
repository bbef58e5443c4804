"""Rules of parameter groups: what they say, which parameters they take, and the numbers that their factors reach."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import optax

from optchain.core.holes import is_hole
from optchain.core.layers import Layers
from optchain.core.mask import Mask, chooses, label, select
from optchain.core.numbers import Range, checked, means, ranges
from optchain.core.paths import names_of, nearest
from optchain.core.routing import addressed
from optchain.core.walk import definitions, dotted, main_numbers, numbers_of

FROZEN = "frozen"


@dataclasses.dataclass(frozen=True)
class Group:
    """One rule: the parameters that it matches, and what happens to them."""

    mask: Mask
    what: Any

    def __repr__(self) -> str:
        shown = getattr(getattr(self.what, "link", None), "name", None) or self.what
        return f"{label(self.mask)}: {shown}"


def assign(rules: Sequence[Group], tree: Any, layers: Layers | None = None) -> list[int]:
    """The index of the rule that takes each leaf, the first that matches.

    Raises:
        ValueError: a leaf that no rule takes, or a rule that takes none.
    """
    paths = names_of(tree)
    if not jax.tree.leaves(tree, is_leaf=is_hole):
        return []
    columns = [_matched(group, tree, layers) for group in rules]
    taken = [next((i for i, column in enumerate(columns) if column[j]), -1) for j in range(len(paths))]
    for i, group in enumerate(rules):
        # A rule may have taken what has been left out before.
        if i not in taken and len(paths) == len(jax.tree.leaves(tree, is_leaf=is_hole)):
            before = {label(rules[k].mask) for k, inside in zip(taken, columns[i], strict=True) if inside}
            problem = f"earlier rules take all that it matches: {', '.join(map(repr, sorted(before)))}"
            raise ValueError(f"groups: the rule {label(group.mask)!r} is never used; {problem}")
    missed = [path for path, i in zip(paths, taken, strict=True) if i < 0]
    if missed:
        near = nearest(missed[0], [label(group.mask) for group in rules])
        more = f" and {len(missed) - 1} more" if len(missed) > 1 else ""
        rest = 'a last rule {"*": {}} takes the rest'
        raise ValueError(f"groups: no rule takes parameter {missed[0]!r}{more}; {near}; {rest}")
    return taken


def taker(rules: Sequence[Group], leaf: str, x: Any) -> int:
    """The index of the rule that takes a leaf that stands outside of the tree; -1 for none."""
    return next((i for i, group in enumerate(rules) if chooses(group.mask, leaf, x)), -1)


def _matched(group: Group, tree: Any, layers: Layers | None) -> list[bool]:
    try:
        inside = select(group.mask, tree, layers)
    except ValueError as error:
        raise ValueError(f"groups, rule {label(group.mask)!r}: {error}") from None
    if not any(inside) and not any(map(is_hole, jax.tree.leaves(tree, is_leaf=is_hole))):
        raise ValueError(f"groups: the rule {label(group.mask)!r} matches no parameter")
    return inside


def checked_rule(tx: Any, rule: str, what: Any) -> Any:
    """What a rule says, its factors checked against the numbers of the transformation."""
    if isinstance(what, optax.GradientTransformation) or (isinstance(what, str) and what == FROZEN):
        return what
    owner = f"groups, rule {rule!r}"
    if not isinstance(what, Mapping):
        expected = "expected a table of factors, FROZEN or a transformation"
        raise ValueError(f"{owner}: {expected}, got {what!r}")
    for name, factor in what.items():
        if callable(factor):
            raise ValueError(f"{owner}: the factor of {name} must be a constant, got {factor!r}")
    factors = {name: checked(owner, name, x, Range("[0, inf)")) for name, x in what.items()}
    for name, factor in addressed(f"{owner}: tx", factors, numbers_of(tx), main_numbers(tx)).items():
        link, number = _owner(tx, name)
        if number in means(type(link.rule)):
            cure = "give these parameters a transformation of their own"
            raise ValueError(f"{owner}: {name} is the decay of means that has no factors; {cure}")
        if not callable(link.numbers[number]):
            allowed = ranges(type(link.rule))[number]
            checked(f"{owner}: {link.name} times the factor", number, link.numbers[number] * factor, allowed)
    return factors


def _owner(tx: Any, name: str) -> tuple[Any, str]:
    """The definition that has a number with this dotted name, and its own name for it."""
    places = ((link, number, dotted(prefix, number)) for prefix, link in definitions(tx) for number in link.numbers)
    return next((link, number) for link, number, place in places if place == name)
