"""Masks on the entries of updates."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.gather import scattered
from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.paths import named_leaves, nearest
from optchain.core.rule import rule
from optchain.masking.indicator import checked_bools

Indicator = Callable[[jax.Array, str, jax.Array, Any], jax.Array]
Where = Indicator | Mapping[str, Any]


def finite(step: jax.Array, path: str, g: jax.Array, p: Any) -> jax.Array:
    """An indicator: the entries whose gradient is a finite number."""
    return jnp.isfinite(g)


@rule
class UpdateMask:
    r"""Zeroes the entries of the update outside a mask.

    .. math::
        u = \begin{cases} g & \text{where } m \\ 0 & \text{elsewhere} \end{cases}

    Fields:
        where: m: a tree of arrays of bools, found by the paths of the parameters, regardless of the containers; or
            a function of (step, path, gradient, parameter) that gives bools of the gradient's shape, where the step
            counts this link's updates from 0 and the parameter is None where `update` gets none.

    A parameter that has moved stays where it is, and links after this one may move what it zeroes: `sparse` holds
    weights at 0 no matter what steps them, and `sparse_update` lets slots rest together with their entry.

    Shapes and dtypes: any.

    Errors: a parameter that the tree lacks, or something else than a bool for each entry, is a `ValueError`.

    Differs from the paper: nothing; the fixed random masks are those of its iterative training, without rounds.

    References:
        Frankle and Carbin, 2018, section 1. https://arxiv.org/abs/1803.03635

    >>> import jax.numpy as jnp
    >>> import optchain as oc
    >>> upper = {"kernel": jnp.triu(jnp.ones((3, 3), bool))}
    >>> tx = oc.chain(oc.adam(1e-3), oc.mask_updates(upper))
    """

    where: Static[Where]

    extras = ("path",)
    example = {"where": finite}

    def update(self, g, s, p, t, path):
        chosen = self.where
        bools = chosen((t - 1).astype(jnp.int32), path, g, p) if callable(chosen) else jnp.asarray(_at(chosen, path))
        inside = scattered(checked_bools(f"mask_updates, leaf {path!r}", bools, g), g)
        return jnp.where(inside, g, 0), s


def _at(tree: Any, path: str) -> Any:
    masks = dict(named_leaves(tree))
    if path not in masks:
        raise ValueError(f"mask_updates: the tree of masks has no leaf {path!r}; {nearest(path, masks)}")
    return masks[path]


mask_updates = lift(UpdateMask, "mask_updates")
