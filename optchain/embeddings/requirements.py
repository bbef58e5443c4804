"""What a transformation must be to run on some rows of a table and let the others rest."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.chain import Chain
from optchain.core.dense import Dense
from optchain.core.joint import Joint
from optchain.core.mask import select
from optchain.core.rule import core_of, unchanged
from optchain.masking.groups import Groups

FORWARDED = {"path", "value"}  # extra arguments that are the same for some rows as for all


def links(tx: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The links of a transformation with their dotted names, through chains and groups."""
    link = getattr(tx, "link", tx)
    if isinstance(link, Chain):
        for own, inner in link.links:
            yield from links(inner, f"{name}.{own}" if name else own)
    elif isinstance(link, Groups):
        for own, inner, _ in link.members():
            yield from links(inner, name if own == "inner" else own)
    else:
        yield name or getattr(link, "name", "tx"), link


def are_tables(patterns: tuple[str, ...], tree: Any) -> list[bool]:
    """Which leaves are tables: those that a pattern matches, but for scalars, which have no rows."""
    return [own and jnp.ndim(x) > 0 for own, x in zip(select(patterns, tree), jax.tree.leaves(tree), strict=True)]


def require_rows(tx: Any, mode: str) -> None:
    """Every link can run on some rows, and has a law for those at rest, or an error names the first that has not."""
    shrinking = None
    for name, link in links(tx):
        problem = _obstacle(link) or _lawless(link, mode)
        if problem is None and mode == "decay_corrected" and shrinking and not link.rule.linear:
            problem = f"comes after the decay of {shrinking!r} and would change it; put the decay after it"
        if problem:
            raise ValueError(f"rows: link {name!r} {problem}")
        shrinking = name if link.rule.shrinks else shrinking


def shrinks(tx: Any) -> bool:
    """Whether a gradient of 0 multiplies a parameter by something."""
    return any(link.rule.shrinks for _, link in links(tx))


def _obstacle(link: Any) -> str | None:
    """Why a link cannot run on some rows only, if it cannot."""
    if isinstance(link, Joint) and not getattr(link.rule, "ignores_zeros", False):
        return "looks across all rows of a table"
    if not isinstance(link, (Dense, Joint)):
        return "is no single technique of ours, so rows cannot tell what it looks across; put wrappers outside of rows"
    if isinstance(link, Dense) and core_of(link.rule, 2) not in (0, 1):
        return f"looks across the rows of a table: its core_ndim is {core_of(link.rule, 2)}, wanted 0 or 1"
    unknown = set(link.rule.extras) - FORWARDED
    return f"reads the extra argument {sorted(unknown)[0]!r}, which has no rows" if unknown else None


def _lawless(link: Any, mode: str) -> str | None:
    """Why rows at rest have no law in a mode other than the lazy one, if they have none."""
    if mode == "lazy":
        return None
    sleep, cure = type(link.rule).sleep, 'mode="lazy" lets them rest'
    if mode == "exact" and (link.rule.shrinks or sleep is not unchanged):
        return f'changes rows whose gradient is 0; mode="decay_corrected" makes up for it where it can, {cure}'
    return None if sleep else f"has no law for rows at rest; {cure}"
