"""What a transformation must be to run on some rows of a table and let the others rest."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.chain import Chain
from optchain.core.dense import Dense
from optchain.core.joint import Joint
from optchain.core.mask import select
from optchain.core.paths import named_leaves
from optchain.core.rule import core_of
from optchain.core.transform import definition_of
from optchain.core.walk import walk
from optchain.embeddings.sleep import Rests, Sleeps
from optchain.masking.groups import Groups

FORWARDED = {"path", "value"}  # extra arguments that are the same for some rows as for all


def links(tx: Any) -> Iterator[tuple[str, Any]]:
    """The definitions of the links of chains and groups with their dotted names; None for one of optax."""
    for prefix, inner in walk(tx):
        link = definition_of(inner)
        if not isinstance(link, (Chain, Groups)):
            yield prefix or (link.name if link else "tx"), link


def are_tables(patterns: tuple[str, ...], tree: Any) -> list[bool]:
    """Which leaves are tables: those that a pattern matches, but for scalars, which have no rows."""
    return [here and jnp.ndim(x) > 0 for here, x in zip(select(patterns, tree), jax.tree.leaves(tree), strict=True)]


def require_rows(tx: Any, mode: str) -> None:
    """Every link can run on some rows, and has a law for those at rest, or an error names the first that does not."""
    shrinking = None
    for name, link in links(tx):
        problem = _obstacle(link) or _lawless(link.rule, mode)
        if problem is None and mode == "decay_corrected" and shrinking and not link.rule.linear:
            problem = f"comes after the decay of {shrinking!r} and would change it; put the decay after it"
        if problem:
            raise ValueError(f"rows: link {name!r} {problem}")
        shrinking = name if _shrinks(link.rule) else shrinking


def require_codes_of_rows(tx: Any, params: Any, tables: list[bool]) -> None:
    """No row of a table shares a code's scale with others (`precision`), or an error names the table."""
    for name, link in links(tx):
        shared = link.storage.in_one_axis(params) if isinstance(link, Dense) else set()
        for (leaf, _), is_table in zip(named_leaves(params), tables, strict=True):
            if is_table and leaf in shared:
                problem = f"stores slots of {leaf!r}, which has one axis, in blocks of several rows"
                raise ValueError(f"rows: link {name!r} {problem}; leave it in float32, precision(..., mask={leaf!r})")


def shrinks(tx: Any) -> bool:
    """Whether a gradient of 0 multiplies a parameter by something."""
    return any(_shrinks(link.rule) for _, link in links(tx))


def _shrinks(rule: Any) -> bool:
    return isinstance(rule, Sleeps) and rule.shrinks


def _obstacle(link: Any) -> str | None:
    """Why a link cannot run on some rows only, if it cannot."""
    if isinstance(link, Joint) and not link.rule.ignores_zeros:
        return "looks across all rows of a table"
    if not isinstance(link, (Dense, Joint)):
        return "is not a single technique, so rows cannot tell what it mixes; put wrappers outside of rows"
    if isinstance(link, Dense) and core_of(link.rule, 2) not in (0, 1):
        return f"mixes the rows of a table: its core_ndim is {core_of(link.rule, 2)}, expected 0 or 1"
    unknown = set(link.rule.extras) - FORWARDED
    return f"reads the extra argument {sorted(unknown)[0]!r}, which has no rows" if unknown else None


def _lawless(rule: Any, mode: str) -> str | None:
    """Why rows at rest have no law in a mode other than the lazy one, if they have none."""
    if mode == "lazy":
        return None
    cure = 'mode="lazy" lets them rest'
    if mode == "exact" and (_shrinks(rule) or not isinstance(rule, Rests)):
        return f'changes rows whose gradient is 0; mode="decay_corrected" makes up for it where it can, {cure}'
    return None if isinstance(rule, Sleeps) else f"has no law for rows at rest; {cure}"
