"""Batches: leaves of one shape through one stacked call of their law."""

from collections.abc import Hashable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.law import Law


def batched(laws: Sequence[Law], leaves: Sequence[tuple[Any, ...]], keys: Sequence[Hashable]) -> list[tuple[Any, Any]]:
    """The update and the slots of each leaf; those with the same key have one law, which runs once for all of them."""
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(key, []).append(i)
    made: dict[int, tuple[Any, Any]] = {}
    for group in groups.values():
        if len(group) == 1:
            made[group[0]] = laws[group[0]](*leaves[group[0]])
            continue
        stacked = jax.tree.map(lambda *xs: jnp.stack(xs), *(leaves[i] for i in group))
        together = jax.vmap(laws[group[0]])(*stacked)
        made |= {i: jax.tree.map(lambda x, n=n: x[n], together) for n, i in enumerate(group)}
    return [made[i] for i in range(len(leaves))]
