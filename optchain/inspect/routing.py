"""The table of parameters and of the links that step them."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optax

from optchain.core.describe import aligned, technique
from optchain.core.door import Door
from optchain.core.holes import part
from optchain.core.mask import select
from optchain.core.paths import named_leaves, names_of
from optchain.core.runner import Runner
from optchain.core.transform import definition_of
from optchain.core.walk import dotted
from optchain.masking.groups import Groups


def routing(tx: optax.GradientTransformation, params: Any) -> str:
    """A plain text table: path, shape and links of each parameter, in the order in which they step it.

    It shows which parameters the masks of links and the rules of groups choose, and where a preset sends a matrix by
    its name. Nothing is computed: parameters may be `jax.ShapeDtypeStruct`s. What no link moves (integers, frozen
    groups, what all masks leave out) has `-`. Transformations of optax are not looked into: one is a link of all that
    it receives.

    Args:
        tx: any transformation.
        params: the parameters.

    Raises:
        ValueError: what `tx.init(params)` raises about masks and groups.

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> shapes = {"embed": (9, 4), "attention": (4, 4), "bias": (4,), "lm_head": (4, 9)}
    >>> print(oc.routing(oc.muon(0.02), {name: jnp.ones(shape) for name, shape in shapes.items()}))
    path       shape   links
    ---------------------------------------
    attention  (4, 4)  muon, decay, lr
    bias       (4,)    adam, decay, adam_lr
    embed      (9, 4)  adam, decay, adam_lr
    lm_head    (4, 9)  adam, decay, adam_lr
    """
    link = definition_of(tx)
    links: dict[str, list[str]] = {name: [] for name in names_of(params)}
    for name, tree in _steps(tx, params if link is None else Door(link, params, params).params, ""):
        for leaf in names_of(tree):
            links[leaf].append(name)
    rows = [(path, str(np.shape(x)), ", ".join(links[path]) or "-") for path, x in named_leaves(params)]
    return aligned([("path", "shape", "links"), *rows])


def _steps(tx: Any, tree: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    """Each link by its dotted name, with the parameters that it steps."""
    link = definition_of(tx)
    if isinstance(link, Groups):
        for name, inner, leaves in link.parts(tree):
            yield from _steps(inner, leaves, dotted(prefix, name))
    elif link is not None and link.children():
        for name, inner in link.children().items():
            yield from _steps(inner, tree, dotted(prefix, name))
    else:
        inside = select(link.mask, tree, link.layers) if isinstance(link, Runner) else None
        yield prefix or technique(tx), tree if inside is None else part(tree, inside)
