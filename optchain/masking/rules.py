"""Rules of parameter groups: what they say, which parameters they take, and the links that their factors reach."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import optax

from optchain.core.mask import Mask, select
from optchain.core.paths import nearest, path_of
from optchain.core.rule import Range, checked, numbers, ranges
from optchain.core.runner import Runner

FROZEN = "frozen"


@dataclasses.dataclass(frozen=True)
class Group:
    """One rule: the parameters that it matches, and what happens to them."""

    mask: Mask
    what: Any

    def __repr__(self) -> str:
        shown = getattr(getattr(self.what, "link", None), "name", None) or self.what
        return f"{label(self.mask)}: {shown}"


def label(mask: Mask) -> str:
    """The name of a group: its pattern, or the name of its predicate."""
    if isinstance(mask, str):
        return mask
    if isinstance(mask, (list, tuple)):
        return " ".join(map(str, mask))
    return getattr(mask, "__name__", type(mask).__name__)


def part(tree: Any, inside: list[bool]) -> Any:
    """The tree without the leaves that are not inside."""
    leaves, treedef = jax.tree.flatten(tree)
    return treedef.unflatten([x if own else optax.MaskedNode() for x, own in zip(leaves, inside, strict=True)])


def links_of(tx: Any) -> Iterator[Runner]:
    """The links with numbers in a transformation, those within its wrappers too."""
    link: Any = getattr(tx, "link", None)
    if isinstance(link, Runner):
        yield link
    elif hasattr(link, "links"):
        for _, inner in link.links:
            yield from links_of(inner)
    elif hasattr(link, "inner"):
        yield from links_of(link.inner)


def assign(rules: Sequence[Group], tree: Any) -> list[int]:
    """The index of the rule that takes each leaf, the first that matches.

    Raises:
        ValueError: a leaf that no rule takes, or a rule that takes none.
    """
    paths = [path_of(path) for path, _ in jax.tree.leaves_with_path(tree)]
    if not paths:
        return []
    columns = [_matched(group, tree) for group in rules]
    taken = [next((i for i, column in enumerate(columns) if column[j]), -1) for j in range(len(paths))]
    for i, group in enumerate(rules):
        if i not in taken:
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


def _matched(group: Group, tree: Any) -> list[bool]:
    try:
        inside = select(group.mask, tree)
    except ValueError as error:
        raise ValueError(f"groups, rule {label(group.mask)!r}: {error}") from None
    if not any(inside):
        raise ValueError(f"groups: the rule {label(group.mask)!r} matches no parameter")
    return inside


def checked_rule(tx: Any, rule: str, what: Any) -> Any:
    """What a rule says, its factors checked against the numbers of the transformation."""
    if isinstance(what, optax.GradientTransformation) or (isinstance(what, str) and what == FROZEN):
        return what
    if not isinstance(what, Mapping):
        wanted = "wanted a table of factors, FROZEN or a transformation"
        raise ValueError(f"groups, rule {rule!r}: {wanted}, got {what!r}")
    links = list(links_of(tx))
    valid = {name for link in links for name in numbers(link.rule)}
    for name, factor in what.items():
        if name not in valid:
            raise ValueError(f"groups, rule {rule!r}: no link of tx has a number {name!r}; {nearest(name, valid)}")
        if callable(factor):
            raise ValueError(f"groups, rule {rule!r}: the factor of {name} must be a constant, got {factor!r}")
    factors = {name: checked(f"groups, rule {rule!r}", name, x, Range("[0, inf)")) for name, x in what.items()}
    for link in links:
        for name, number in numbers(link.rule).items():
            if name in factors and not callable(number):
                owner = f"groups, rule {rule!r}: {link.name} times the factor"
                checked(owner, name, number * factors[name], ranges(type(link.rule))[name])
    return factors
