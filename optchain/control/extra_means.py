"""Means of extra arguments over micro-batches, and what has none."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.branch import cond
from optchain.core.door import require_shapes, widened
from optchain.core.extras import KNOWN
from optchain.core.holes import holed
from optchain.core.routing import Given
from optchain.core.transform import ours
from optchain.core.trees import scalar
from optchain.core.walk import readers, walk

SCALARS, TREES = ("value", "validation"), ("hessian",)
# Those that belong to one batch and have no mean, with what to do instead.
WHOLE = {
    "grad_fn": "let it stand around: {reader}(accumulate(tx, every))",
    "value_fn": "compute the loss and its gradient of the whole batch, without accumulate",
    "grad": "leave it out",
    "max_logits": "put it after: chain(accumulate(tx, every), {reader}(...))",
}


def require_means(owner: str, tx: Any, cures: Mapping[str, str] = WHOLE) -> None:
    """What is accumulated reads nothing that has no mean, or an error says what to do."""
    for name, cure in cures.items():
        for reader in readers(tx, name):
            problem = f"{reader} within it reads `{name}`, {KNOWN[name]}: that would be of the last micro-batch alone"
            raise ValueError(f"{owner}: {problem}; {cure.format(reader=reader)}")


def require_no_functions(owner: str, tx: Any, extra: Mapping[str, Any]) -> None:
    """Functions reach no transformation of optax, which may call them, or an error says so."""
    names = [name for name, x in extra.items() if callable(x)]
    if names and not all(ours(inner) for _, inner in walk(tx)):
        problem = f"`{names[0]}` is a function of the last micro-batch alone, which a transformation of optax may call"
        raise ValueError(f"{owner}: {problem}; leave it out")


def no_means(tx: Any, params: Any) -> dict[str, Any]:
    """What is kept of the extra arguments that a transformation reads; of optax's may be read the loss."""
    foreign = not all(ours(inner) for _, inner in walk(tx))
    names = [name for name in (*SCALARS, *TREES) if readers(tx, name) or (foreign and name == "value")]
    zeros = jax.tree.map(jnp.zeros_like, params)
    return {name: {"weight": jnp.zeros(()), "mean": zeros if name in TREES else scalar(0, params)} for name in names}


def with_sample(
    owner: str, means: dict[str, Any], extra: Mapping[str, Any], weight: jax.Array, counts: jax.Array
) -> dict[str, Any]:
    """The means with what one more micro-batch gives, where it counts. A validation loss that is NaN says nothing."""
    after = dict(means)
    for name, old in means.items():
        if extra.get(name) is None:
            continue
        x = _fitted(owner, name, extra[name], old["mean"])
        here = counts & jnp.isfinite(x) if name == "validation" else counts
        weights = jnp.where(here, old["weight"] + weight, old["weight"])
        share = weight / jnp.where(here, weights, 1)

        def add(mean: Any, x: Any, here: Any = here, share: Any = share, first: Any = old["weight"] == 0) -> Any:
            r = share.astype(mean.dtype)
            # A first sample replaces what is left of the last step, which may be a NaN.
            return jnp.where(here, jnp.where(first, x, (1 - r) * mean + r * x).astype(mean.dtype), mean)

        after[name] = {"weight": weights, "mean": jax.tree.map(add, old["mean"], x)}
    return after


def begun_again(means: dict[str, Any], begins: jax.Array) -> dict[str, Any]:
    """The means, without any weight where the next sample begins new ones."""
    return {name: x | {"weight": jnp.where(begins, 0, x["weight"])} for name, x in means.items()}


def with_means(owner: str, means: dict[str, Any], given: Given, then: Callable[[Given], Any]) -> Any:
    """What a function makes of the call with the means in the place of what its last micro-batch gives.

    Where that gives None, but one before it gave something, the function is within a `cond`.
    """
    if not means:
        return then(given)
    (name, kept), *others = means.items()
    rest, seen, last = dict(others), kept["weight"] > 0, given.extra.get(name)
    if name not in given.extra:
        return with_means(owner, rest, given, then)
    if last is None:
        averaged = given.with_extra(**{name: kept["mean"]})
        return cond(seen, lambda: with_means(owner, rest, averaged, then), lambda: with_means(owner, rest, given, then))
    x = _fitted(owner, name, last, kept["mean"])
    mean = jax.tree.map(lambda mean, x: jnp.where(seen, mean, x), kept["mean"], x)
    return with_means(owner, rest, given.with_extra(**{name: mean}), then)


def _fitted(owner: str, name: str, x: Any, mean: Any) -> Any:
    """An extra argument in float32 or wider: a scalar, or a tree with the leaves, holes and shapes of its mean."""
    if name in SCALARS:
        if jnp.shape(x):
            raise ValueError(f"{owner}: `{name}` is a scalar, got the shape {jnp.shape(x)}")
        return jnp.asarray(x, mean.dtype)
    try:
        x = widened(holed(x, mean))
    except ValueError:
        pass
    require_shapes(owner, mean, x, f"values of {name}")
    return x
