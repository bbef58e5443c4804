"""How sparse parameters are."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from optchain.core.describe import aligned
from optchain.core.paths import named_leaves


class Leaf(NamedTuple):
    """One parameter: how many of its entries there are, and how many are exactly 0."""

    path: str
    shape: tuple[int, ...]
    entries: int
    zeros: int

    @property
    def sparsity(self) -> float:
        """The part of the entries that is 0."""
        return self.zeros / max(self.entries, 1)


class Sparsity(tuple[Leaf, ...]):
    """Parameters in order; printed they are a table."""

    @property
    def total(self) -> Leaf:
        """All of them together."""
        return Leaf("total", (), sum(leaf.entries for leaf in self), sum(leaf.zeros for leaf in self))

    def __str__(self) -> str:
        rows = [
            (leaf.path, shape, str(leaf.entries), str(leaf.zeros), f"{leaf.sparsity:.4f}")
            for leaf, shape in [*((leaf, str(leaf.shape)) for leaf in self), (self.total, "")]
        ]
        return aligned([("path", "shape", "entries", "zeros", "sparsity"), *rows])


def sparsity(params: Any) -> Sparsity:
    """The entries of each parameter that are exactly 0: rows with `path`, `shape`, `entries`, `zeros` and `sparsity`.

    The row `total` of the result counts all of them.

    Args:
        params: arrays, or masks of bools, whose entries are 0 where they are False.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> print(oc.sparsity({"bias": jnp.ones(2), "kernel": jnp.eye(3)}))
    path    shape   entries  zeros  sparsity
    ----------------------------------------
    bias    (2,)    2        0      0.0000
    kernel  (3, 3)  9        6      0.6667
    total           11       6      0.5455
    """
    leaves = named_leaves(params)
    return Sparsity(Leaf(name, jnp.shape(x), x.size, x.size - int(jnp.count_nonzero(x))) for name, x in leaves)
