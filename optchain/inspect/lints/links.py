"""The links of a transformation, in the order in which they step, each with the parameters that it applies to."""

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Any

from optchain.core.describe import maker_or_type, technique
from optchain.core.paths import names_of
from optchain.core.runner import Runner
from optchain.core.transform import definition_of, moving
from optchain.core.walk import dotted
from optchain.inspect.lints import roles
from optchain.masking.groups import Groups


@dataclasses.dataclass(frozen=True, eq=False)
class Link:
    """One transformation and where it stands.

    Attributes:
        where: its dotted name, that of its technique where it has none.
        prefix: of its numbers' names.
        tx: the transformation.
        params: the parameters that reach it, abstract, with holes for all others.
        chosen: those of them that its mask chooses.
        around: the wrappers that it stands in, outermost first.
        line: whether it makes the update; false for what a wrapper keeps beside that.
    """

    where: str
    prefix: str
    tx: Any
    params: Any
    chosen: Any
    around: tuple["Link", ...]
    line: bool

    @functools.cached_property
    def technique(self) -> str:
        """The name of the technique, that of optax's function too; empty for a transformation of the user's own."""
        library, dot, name = technique(self.tx).rpartition(".")
        return name if not dot or library == "optax" else ""

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """The parameters that it applies to."""
        return tuple(names_of(self.chosen))

    @property
    def definition(self) -> Any:
        """What stands behind it; None for a transformation of optax."""
        return definition_of(self.tx)

    @property
    def numbers(self) -> Mapping[str, Any]:
        """Its numbers as they were given; none are known of a transformation of optax."""
        return {} if self.definition is None else self.definition.numbers

    @property
    def room(self) -> str:
        """Where its technique stands."""
        return roles.room(self.technique)

    @property
    def is_opaque(self) -> bool:
        """Whether more may stand within than can be seen: a chain or a wrapper of optax, or the user's own."""
        return self.definition is None and not self.room and self.technique not in roles.MULTIPLIERS


def placed(tx: Any, params: Any) -> list[Link]:
    """All transformations within one in the order of the walk: wrappers before what they wrap.

    Args:
        tx: any transformation.
        params: abstract parameters.
    """
    return list(_placed(tx, "", moving(tx, params), (), True))


def is_wrapper(link: Link) -> bool:
    """Whether other transformations stand within."""
    return link.definition is not None and bool(link.definition.children())


def _placed(tx: Any, prefix: str, params: Any, around: tuple[Link, ...], line: bool) -> Iterator[Link]:
    definition = definition_of(tx)
    name = prefix or (maker_or_type(tx) if definition is None else definition.name)
    if definition is None:
        yield Link(name, prefix, tx, params, params, around, line)
        return
    link = Link(name, prefix, tx, params, _chosen(definition, params), around, line)
    yield link
    children, inside = definition.children(), (*around, link)
    parts = {child: part for child, _, part in _parts(definition, params)}
    for child, inner in children.items():
        own = line and (child == "" or "" not in children or child in parts)
        yield from _placed(inner, dotted(prefix, child), parts.get(child, params), inside, own)


def _parts(definition: Any, params: Any) -> list[tuple[str, Any, Any]]:
    """The parameters of each group."""
    if not isinstance(definition, Groups):
        return []
    try:
        return definition.parts(params)
    except ValueError:  # within a wrapper that shows its own arrays, whose names the rules know
        return []


def _chosen(definition: Any, params: Any) -> Any:
    """The parameters that a mask chooses."""
    try:
        return definition.chosen(params) if isinstance(definition, Runner) else definition.within(params)
    except ValueError:  # as above
        return params
