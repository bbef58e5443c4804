"""How far the gradients of several tasks agree: their norms, and the cosines between them."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.leading import along
from optchain.core.numerics import added, global_norm, quotient
from optchain.core.spread import across
from optchain.core.whole import added_over, grouped


class Agreement(NamedTuple):
    """Of K gradients, each over all leaves of a tree; a gradient of zeros has the cosine 0 with each."""

    norms: jax.Array  # (K,)
    cosines: jax.Array  # (K, K)

    @property
    def size(self) -> int:
        """How many tasks."""
        return len(self.norms)

    def products(self) -> tuple[jax.Array, jax.Array]:
        """The inner products of the gradients over the largest norm, which is the second: finite at any scale."""
        largest = jnp.max(self.norms)
        relative = quotient(self.norms, largest)
        return self.cosines * jnp.outer(relative, relative), largest

    def pairs(self) -> jax.Array:
        """The cosine of each pair of different tasks."""
        return self.cosines[jnp.triu_indices(self.size, 1)]


def agreement_of(grads: Any) -> Agreement:
    """Norms and cosines of gradients that have a leading axis of tasks in every leaf, of which there is at least one.

    Each gradient is divided by its norm before they are multiplied, so that no product overflows or vanishes.
    """
    leaves = jax.tree.leaves(grads)
    norms = jax.vmap(global_norm)(grads)
    norms = jnp.minimum(norms, jnp.finfo(norms.dtype).max)  # of finite entries, whose norm may be beyond all numbers
    of_leaves = []
    for x in leaves:
        unit = quotient(x, along(norms.astype(x.dtype), x))
        of_leaves.append((across(x), _gram(unit)))
    groups = grouped(of_leaves)
    return Agreement(norms, _sum(added_over(_sum(xs), names) for names, xs in groups.items()))


def _gram(rows: jax.Array) -> jax.Array:
    """The inner products of all rows. Sums of products, which are fused: a contraction of axes that are divided over
    devices would have to be told how its result is."""
    return jax.vmap(lambda a: jax.vmap(lambda b: jnp.sum(a * b))(rows))(rows)


def _sum(arrays: Any) -> jax.Array:
    return added(arrays)
