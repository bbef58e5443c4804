"""Randomness: random numbers come from a key, which may be traced."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from optchain.core.transform import Transform, transform
from optchain.inspect.laws.check import Broken, Skipped, law
from optchain.inspect.laws.steps import every_extra, flat, gradients

NAMES = ("key", "seed")  # what the argument that random numbers come from is called


@law
def keys_of_members(tx: Any, params: Any) -> None:
    """Under `vmap` over keys each member draws the random numbers of its own."""
    keys, grads = jax.random.split(jax.random.key(0), 3), gradients(params)
    if _keyed(tx, keys[0]) is tx and _with_key(tx.init(params), keys[0]) is None:
        raise Skipped("it has no key")

    def updates(key: jax.Array) -> Any:
        member = _keyed(tx, key)
        state = member.init(params)
        state = state if member is not tx else _with_key(state, key)
        return member.update(grads, state, params, **every_extra())[0]

    alone = [flat(updates(key)) for key in keys]
    if all(np.array_equal(alone[0], other) for other in alone[1:]):
        raise Skipped("its first update depends on no random number")
    batch = jax.vmap(updates)(keys)
    members = [flat(jax.tree.map(lambda x, i=i: x[i], batch)) for i in range(len(keys))]
    for expected, member in zip(alone, members, strict=True):
        if not np.allclose(member, expected, 1e-4, 1e-5):
            raise Broken("a member has another update than alone with the same key")


def _keyed(x: Any, key: jax.Array) -> Any:
    """A transformation, or a part of one, with another key; itself where it has none."""
    if isinstance(x, Transform):
        link = _keyed(x.link, key)
        return x if link is x.link else transform(link)
    if type(x) is tuple:
        items = tuple(_keyed(item, key) for item in x)
        return x if all(a is b for a, b in zip(items, x, strict=True)) else items
    if not dataclasses.is_dataclass(x) or isinstance(x, type):
        return x
    fields = {field.name: getattr(x, field.name) for field in dataclasses.fields(x)}
    changed = {name: key if name in NAMES else _keyed(value, key) for name, value in fields.items()}
    changed = {name: value for name, value in changed.items() if value is not fields[name]}
    return dataclasses.replace(x, **changed) if changed else x


def _with_key(state: Any, key: jax.Array) -> Any:
    """A state with another key, for what keeps its key there, typed or not; None where it keeps none."""
    leaves, treedef = jax.tree.flatten(state)
    old = jax.random.key_data(key)
    places = {}
    for i, x in enumerate(leaves):
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            places[i] = key
        elif (x.shape, x.dtype) == (old.shape, old.dtype):
            places[i] = old
    return treedef.unflatten([places.get(i, x) for i, x in enumerate(leaves)]) if places else None
