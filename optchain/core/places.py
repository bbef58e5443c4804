"""Which parameter each array of a state belongs to, for states of optchain and of optax."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import optax

from optchain.core.holes import is_hole


def places(tx: Any, state: Any, params: Any) -> list[int | None]:
    """For each leaf of a state, holes included, the number of the parameter that it belongs to, None for no one."""
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    ps = jax.tree.leaves(params, is_leaf=_is_absent)
    present = itertools.count()
    # A parameter of None is no leaf, but where another one is no real number either a hole stands in its place.
    of_each = [-1 if p is None else next(present) for p in ps]
    of_leaves = [i for i in of_each if i >= 0]
    shapes = {jax.tree.structure(params, is_leaf=is_leaf) for is_leaf in (is_hole, _is_absent)}

    # A tree like the parameters has a leaf for each of them, in their order: no two trees need be walked together,
    # whose boxes may say different things.
    def numbered(tree: Any) -> Any:
        treedef = jax.tree.structure(tree)
        return treedef.unflatten(of_each if treedef.num_leaves == len(of_each) else of_leaves)

    def other(numbers: Any) -> Any:
        """No parameter's; but optax's line search keeps a gradient that it does not count among them."""
        if isinstance(numbers, int) or jax.tree.structure(numbers) not in shapes:
            return jax.tree.map(lambda _: -1, numbers)
        return numbered(numbers)

    numbers = optax.tree.map_params(
        tx,
        numbered,
        treedef.unflatten(range(len(leaves))),
        transform_non_params=other,
        is_leaf=lambda _: True,  # each tree as a whole
    )
    return [None if i < 0 else i for i in jax.tree.leaves(numbers)]


def at_places(tx: Any, function: Callable[..., Any], state: Any, params: Any, *trees: Any, otherwise: Any) -> Any:
    """The state with `function(slot, p, ...)` of each array that belongs to a parameter, holes included, and what
    `otherwise` makes of each other one.

    The trees are like the parameters. It is `optax.tree.map_params` for slots whose Flax boxes name other axes too.
    """
    leaves, treedef = jax.tree.flatten(state, is_leaf=is_hole)
    like = jax.tree.structure(params, is_leaf=is_hole)
    columns = [like.flatten_up_to(tree) for tree in (params, *trees)]
    pairs = zip(leaves, places(tx, state, params), strict=True)
    return treedef.unflatten([otherwise(x) if i is None else function(x, *(c[i] for c in columns)) for x, i in pairs])


def _is_absent(x: Any) -> bool:
    return x is None or is_hole(x)
