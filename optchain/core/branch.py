"""A `cond` whose branches may differ in what JAX takes to vary over the mesh axes of a `shard_map`."""

from collections.abc import Callable
from typing import Any

import jax
from jax.sharding import get_abstract_mesh

from optchain.core.spread import marked, varying


def cond(decision: Any, true: Callable[..., Any], false: Callable[..., Any], *operands: Any) -> Any:
    """`jax.lax.cond`; inside `shard_map` a result varies where it does in either branch, which JAX would refuse.

    Such as the state of a step that is rejected, which varies, and a number in that of one that is made.
    """
    if not get_abstract_mesh().manual_axes:
        return jax.lax.cond(decision, true, false, *operands)
    both = [jax.tree.leaves(jax.eval_shape(lambda *args, f=f: f(*args), *operands)) for f in (true, false)]
    axes = [tuple(sorted(varying(x) | varying(y))) for x, y in zip(*both, strict=True)]

    def alike(branch: Callable[..., Any]) -> Callable[..., Any]:
        def taken(*args: Any) -> Any:
            leaves, treedef = jax.tree.flatten(branch(*args))
            return treedef.unflatten([marked(x, {-1: names}) for x, names in zip(leaves, axes, strict=True)])

        return taken

    return jax.lax.cond(decision, alike(true), alike(false), *operands)
