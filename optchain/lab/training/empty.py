"""Trees without arrays that have no entries, because Orbax cannot write those."""

from typing import Any

import jax


def without_empty(tree: Any) -> Any:
    """The tree with None in the place of each array that has no entries.

    Args:
        tree: of arrays, or of their shapes.
    """
    return jax.tree.map(lambda x: None if 0 in x.shape else x, tree)


def with_empty(tree: Any, like: Any) -> Any:
    """The tree with the arrays that `without_empty` left out.

    Args:
        tree: without them.
        like: a whole tree of the same structure, whose arrays without entries are taken.
    """
    kept = iter(jax.tree.leaves(tree))
    return jax.tree.map(lambda x: x if 0 in x.shape else next(kept), like)
