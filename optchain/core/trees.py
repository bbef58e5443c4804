"""Sums over a whole tree, for rules that look across leaves."""

from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.numerics import added, wide
from optchain.core.spread import across
from optchain.core.whole import added_over, grouped, largest_over


def widest(tree: Any) -> Any:
    """The dtype of sums over a tree: float64 where a leaf has it, float32 else."""
    return jnp.float64 if any(wide(x).dtype == jnp.float64 for x in jax.tree.leaves(tree)) else jnp.float32


def total(tree: Any) -> jax.Array:
    """The sum of all entries of all leaves, in float32 or wider; 0 for an empty tree."""
    leaves = jax.tree.leaves(tree)
    groups = grouped((across(x), jnp.sum(wide(x))) for x in leaves)
    return added(added_over(added(xs), names) for names, xs in groups.items())


def dot(a: Any, b: Any) -> jax.Array:
    """The inner product of two trees of the same structure."""
    return total(jax.tree.map(lambda x, y: wide(x) * wide(y), a, b))


def max_abs(tree: Any) -> jax.Array:
    """The largest magnitude of any entry; 0 for an empty tree."""
    leaves = jax.tree.leaves(tree)
    widest = jnp.result_type(*leaves) if leaves else jnp.float32
    groups = grouped((across(x), jnp.max(jnp.abs(x), initial=0).astype(widest)) for x in leaves)
    numbers = [largest_over(jnp.max(jnp.stack(xs)), names) for names, xs in groups.items()]
    return jnp.max(jnp.stack(numbers)) if numbers else jnp.zeros(())


def norm1(tree: Any) -> jax.Array:
    """The sum of the absolute values of all entries."""
    return total(jax.tree.map(jnp.abs, tree))


def scalar(value: Any, tree: Any) -> jax.Array:
    """A number as an array in the dtype of sums over a tree."""
    return jnp.asarray(value).astype(widest(tree))
