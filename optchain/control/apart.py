"""Means over micro-batches of which each device keeps its own, until they are added over the devices."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from optchain.core.paths import named_leaves
from optchain.core.spread import bound, marked, varying
from optchain.core.whole import added_over

KEPT = ("weight", "mean", "extras", "lost")  # arrays that begin with an axis of length 1, one for each device


class Means(NamedTuple):
    """What is known of the micro-batches since the last step."""

    weight: jax.Array
    mean: Any
    extras: dict[str, Any]
    lost: jax.Array  # micro-batches that do not count, since they are not finite


def first(own: Mapping[str, Any], axes: tuple[str, ...]) -> dict[str, Any]:
    """The arrays of one device before its first micro-batch, which will differ from those of others."""
    here = axes if bound(axes) else ()
    return kept(own) | jax.tree.map(lambda x: marked(x[None], {-1: here}), _of(own))


def kept(own: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays that are the same on all devices."""
    return {name: x for name, x in own.items() if name not in KEPT}


def opened(own: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of this device without the axis of devices."""
    return kept(own) | jax.tree.map(lambda x: x[0], _of(own))


def closed(own: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays with the axis of devices."""
    return kept(own) | jax.tree.map(lambda x: x[None], _of(own))


def added(means: Means, axes: tuple[str, ...]) -> Means:
    """The means over the micro-batches of all devices: one sum of a few numbers, and one of each array."""
    names = axes if bound(axes) else ()
    tables = {"": {"weight": means.weight, "mean": means.mean}, **means.extras}
    weights = [table["weight"] for table in tables.values()]
    numbers = added_over(jnp.stack([*weights, means.lost.astype(jnp.float32)]), names)
    whole = {}
    for (name, table), total in zip(tables.items(), numbers, strict=False):
        counts, weight = table["weight"] > 0, table["weight"]
        share = weight / jnp.where(total > 0, total, 1)

        def part(x: jax.Array, counts: Any = counts, share: Any = share) -> jax.Array:
            return jnp.where(counts, share.astype(x.dtype) * x, 0)  # what is left of an earlier step does not count

        mean = jax.tree.map(lambda x, part=part: added_over(part(x), names), table["mean"])
        whole[name] = {"weight": total, "mean": mean}
    (weight, mean), extras = whole[""].values(), {name: table for name, table in whole.items() if name}
    return Means(weight, mean, extras, numbers[-1].astype(jnp.int32))


def require_apart(owner: str, grads: Any, full: jax.Array, axes: tuple[str, ...]) -> None:
    """Gradients differ between the devices, and all step at the same time, or an error says what to do.

    JAX does not say so outside of `shard_map`, and within one that was called with `check_vma=False`.
    """
    if not bound(axes):
        return
    told = [name for name in axes if varying(lax.axis_index(name))]
    for path, g in named_leaves(grads):
        same = [name for name in told if name not in varying(g)]
        if same:
            problem = f"the gradient of leaf {path!r} is the same on all devices along {_listed(same)}, so that it has"
            problem += " been reduced already, as JAX does where the parameters are the same"
            cure = f"differentiate by jax.lax.pcast(params, {tuple(same)}, to='varying')"
            raise ValueError(f"{owner}: {problem}; {cure}")
    differs = [name for name in told if name in varying(full)]
    if differs:
        problem = f"`emit` differs between devices along {_listed(differs)}, and all have to step at the same time"
        raise ValueError(f"{owner}: {problem}; give all the same one, such as jax.lax.pmax(emit, {tuple(differs)})")


def _of(own: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in own.items() if name in KEPT}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))
