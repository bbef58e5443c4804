"""Parameters that have more rows now: whether their old slots are the beginnings of the new ones."""

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from optchain.core.holes import is_hole
from optchain.core.paths import named_leaves
from optchain.sharding.axes import Follows, followed

CURE = "start its link again, renames={'the link': None}"


def misfits(tx: Any, state: Any, params: Any, old: dict[int, tuple[str, tuple[int, ...]]]) -> Iterator[str]:
    """Why slots cannot grow: those of a parameter must follow the same axes as before, of which one has grown.

    Args:
        tx: the transformation.
        state: `tx.init(params)`.
        params: the parameters now.
        old: the names of slots that are larger now and their shapes before, by the number of the leaf in the state.
    """
    now, leaves, ps = _followed(tx, state, params), jax.tree.leaves(state), named_leaves(params)
    grown: dict[int, dict[tuple[Any, int], str]] = {}
    for i, (name, shape) in old.items():
        follows = now[i] or Follows(-1, (None,) * len(shape))
        for axis, n, m in zip(follows.axes, shape, np.shape(leaves[i]), strict=True):
            if n != m:
                grown.setdefault(follows.param, {}).setdefault((axis, n), name)
    for param, axes in grown.items():
        ((axis, n), name), *others = axes.items()
        aside = next((name for (axis, _), name in axes.items() if axis is None), None)
        if aside is not None:
            yield f"{aside} is larger now, along an axis that is none of its parameter; {CURE}"
            continue
        path, p = ps[param]
        if others:
            names = ", ".join(axes.values())
            yield f"{path} is {list(p.shape)} now, and its slots {names} have grown along several axes; {CURE}"
            continue
        shape = tuple(n if i == axis else size for i, size in enumerate(p.shape))
        abstract = [jax.ShapeDtypeStruct(shape if j == param else x.shape, x.dtype) for j, (_, x) in enumerate(ps)]
        earlier = jax.tree.structure(params).unflatten(abstract)
        if _followed(tx, jax.eval_shape(tx.init, earlier), earlier) != now:
            sizes = f"from {list(shape)} to {list(p.shape)}"
            yield f"{path} has grown {sizes}, and {name} follows other axes than before; {CURE}"


def _followed(tx: Any, state: Any, params: Any) -> list[Any]:
    """What each leaf of the state follows."""
    held = jax.tree.leaves(state, is_leaf=is_hole)
    return [x for x, leaf in zip(followed(tx, state, params), held, strict=True) if not is_hole(leaf)]
