"""The state of a running chain for an edited one: kept, created and dropped by name."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax

from optchain.inspect.carry import Carried, carry, clocks
from optchain.inspect.entries import entries
from optchain.inspect.pairing import numbered, pair, unclear

SHOWN = 12  # names in a line of the report


@dataclasses.dataclass(frozen=True)
class Report:
    """What `migrate_state` did, by dotted names of links; `link.slot/path` is one array of a link that is kept.

    `(chain)` stands for the step that a chain counts, `(guard)` and the like for what a wrapper keeps itself. What
    holds nothing is not listed.
    """

    kept: tuple[str, ...]
    created: tuple[str, ...]
    dropped: tuple[str, ...]
    renamed: tuple[tuple[str, str], ...]
    continued: tuple[tuple[str, int], ...]  # counts that were set so that schedules go on where they were

    @property
    def changed(self) -> bool:
        """Whether the chain holds anything else than before."""
        return bool(self.created or self.dropped or self.renamed or self.continued)

    def __str__(self) -> str:
        rows = {
            "kept": [_shown(name) for name in self.kept],
            "renamed": [f"{_shown(old)} -> {_shown(new)}" for old, new in self.renamed],
            "created": [_shown(name) for name in self.created],
            "dropped": [_shown(name) for name in self.dropped],
            "continued": [f"{name} at {count}" for name, count in self.continued],
        }
        return "\n".join(f"{title:9}  {_listed(names)}" for title, names in rows.items() if names)


def migrate_state(
    old: Any, tx: Any, params: Any, renames: Mapping[str, str | None] | None = None
) -> tuple[Any, Report]:
    """Carry the state of a running chain over to an edited one, by name; anything ambiguous is an error.

    A link that both chains have keeps its arrays bit for bit, wherever it now stands; a new one starts from its own
    beginning (its own count is 0), one that is gone is dropped. Names are dotted paths of links. Wrappers
    (`accumulate`, `guard`, `precision`, `groups`) have no part in them, so that links keep their names when they are
    wrapped or unwrapped; a chain within a chain has. Schedules go on where they were: a new `accumulate`, `guard` or
    outer chain takes over the count that the links within have read.

    Args:
        old: the state of the earlier chain, live or restored from Orbax, msgpack (`flax.serialization`) or npz with the
            keys of `jax.tree_util.keystr`; with metrics or without.
        tx: the edited transformation.
        params: the parameters now.
        renames: from old to new names of links, `{"moments": "adam"}`. The name of a chain takes all its links along,
            `""` is the whole optimizer, `{"": "adamw"}`; None drops a link, `{"adam": None}`, and starts a new one of
            the same name afresh. The own arrays of wrappers and chains are called `(guard)` or `outer.(chain)`.

    Returns:
        The new state, with the structure of `tx.init(params)`, ready for `update`, and a `Report` to print. Arrays that
        are kept may be those of `old`, not copies.

    Shapes and dtypes: those of `tx.init(params)`; arrays that are kept must have them already.

    What a state cannot tell: two links of one kind that swapped their numbered names (`trace`, `trace_2`) while nothing
    else changed, and a technique that became another with the same slots under the same name. Name your links.

    Raises:
        ValueError: no such link in `renames`; a link that is gone and a new one with the same slots; numbered names in
            a chain whose links have changed; a kept link with other slots, shapes or dtypes, or with a parameter that
            is new to it (a link has one count for all of its parameters); links that counted differently under one
            count. All that is found is in one message.

    >>> import optchain as oc
    >>> import jax.numpy as jnp
    >>> params = {"w": jnp.ones(3)}
    >>> old = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1)).init(params)
    >>> new = oc.chain(moments=oc.scale_by_adam(), decay=oc.add_decayed_weights(0.1), lr=oc.scale_by_learning_rate(0.1))
    >>> state, report = oc.migrate_state(old, oc.accumulate(new, 4), params, renames={"adam": "moments"})
    >>> print(report)
    kept       (chain), lr
    renamed    adam -> moments
    created    (accumulate), decay
    """
    leaves, treedef = jax.tree.flatten_with_path(tx.init(params))
    before, after, renames = entries(old), entries(treedef.unflatten(range(len(leaves)))), renames or {}
    if not before:
        raise ValueError("migrate_state: the old state holds no arrays")
    pairs, problems = pair(before, after, renames)
    problems += [*numbered(before, after, renames), *unclear(before, after, pairs, renames)]
    carried = Carried()
    for new, name in pairs.items():
        carry(carried, before[name], after[new], leaves)
    continued = clocks(before, after, pairs, leaves, carried)
    problems += carried.problems
    if problems:
        raise ValueError("migrate_state: " + "\n  ".join(problems))
    state = treedef.unflatten([carried.values.get(i, x) for i, (_, x) in enumerate(leaves)])
    moved = set(pairs.values())
    return state, Report(
        kept=tuple(new for new, name in pairs.items() if new == name),
        created=(*(name for name in after if name not in pairs), *carried.created),
        dropped=(*(name for name in before if name not in moved), *carried.dropped),
        renamed=tuple((name, new) for new, name in pairs.items() if new != name),
        continued=tuple(continued),
    )


def _shown(name: str) -> str:
    return name or "(unnamed)"


def _listed(names: list[str]) -> str:
    more = [f"and {len(names) - SHOWN} more"] if len(names) > SHOWN else []
    return ", ".join([*names[:SHOWN], *more])
