"""The runner of rules of the whole tree whose gradients have one axis more than the parameters, in front."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.definition import Result
from optchain.core.joint import Joint
from optchain.core.mask import select
from optchain.core.numerics import wide
from optchain.core.paths import named_leaves
from optchain.core.routing import Given


@dataclasses.dataclass(frozen=True)
class Leading(Joint):
    """Runs a joint rule on gradients with a leading axis, which the rule takes away; a subclass says what it counts.

    Gradients in the parameters' own shapes are those of one.
    """

    axis = ""  # what the leading axis counts, as `takes` names it

    def rest(self, u: jax.Array, given: Given) -> jax.Array:
        """What comes of a leaf outside of the mask, in float32 or wider, with the axis."""
        raise NotImplementedError

    def require_length(self, stacked: Any) -> None:
        """The leading axis counts as many as the rule says, or an error names a leaf; it may be of any length here."""

    def takes(self) -> frozenset[str]:
        return frozenset({self.axis})

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        """One update in float32 or wider, in the shapes of the parameters."""
        self.require_params(params)
        stacked, mask = with_axis(self.name, self.axis, updates, params), self.mask
        self.require_length(stacked)
        if mask is not None:  # which must not take the leading axis for one of the parameter's
            mask = jax.tree.unflatten(jax.tree.structure(params), select(mask, params, self.layers))
        link = dataclasses.replace(self, mask=mask)
        new, state, metrics = super(Leading, link).step(stacked, state, None, given)

        def without_axis(u: jax.Array, p: jax.Array) -> jax.Array:
            return u if u.ndim == p.ndim else self.rest(wide(u), given)

        return jax.tree.map(without_axis, new, params), state, metrics

    def numbers_of(self, extra: str, stacked: Any, given: Given) -> jax.Array | None:
        """An extra argument that has one number for each that the leading axis counts; None in a step that has none."""
        numbers = given.asked(extra, self.name)
        if numbers is None:
            return None
        numbers = wide(jnp.asarray(numbers))
        if numbers.shape != (length(stacked),) and jax.tree.leaves(stacked):
            expected = f"one for each of the {length(stacked)} {self.axis}, in their order"
            raise ValueError(f"{self.name}: `{extra}` has the shape {numbers.shape}, expected {expected}")
        return numbers


def with_axis(name: str, axis: str, updates: Any, params: Any) -> Any:
    """The updates with a leading axis, equally long in every leaf, or an error in the name of a link."""
    if jax.tree.structure(updates) != jax.tree.structure(params):
        structure, expected = jax.tree.structure(updates), jax.tree.structure(params)
        raise ValueError(f"{name}: the updates have the structure {structure}, the parameters {expected}")
    if all(g.shape == p.shape for g, p in zip(*map(jax.tree.leaves, (updates, params)), strict=True)):
        return jax.tree.map(lambda g: g[None], updates)
    for (leaf, g), p in zip(named_leaves(updates), jax.tree.leaves(params), strict=True):
        if g.ndim != p.ndim + 1 or g.shape[1:] != p.shape:
            expected = f"({axis}, {', '.join(map(str, p.shape))})" if p.shape else f"({axis},)"
            raise ValueError(f"{name}: leaf {leaf!r} has shape {g.shape}, expected {expected}")
    sizes = sorted({len(g) for g in jax.tree.leaves(updates)})
    if len(sizes) > 1:
        raise ValueError(f"{name}: the leaves have {' and '.join(map(str, sizes))} {axis}, expected as many in each")
    return updates


def weighted(weights: jax.Array, stacked: Any) -> Any:
    """The sum over the leading axis, of each times its weight."""
    # On a GPU or TPU the default precision of a product would be lower.
    product = functools.partial(jnp.einsum, "i,i...->...", precision="highest")
    return jax.tree.map(lambda x: product(weights.astype(x.dtype), x), stacked)


def along(numbers: jax.Array, x: jax.Array) -> jax.Array:
    """Numbers of what the leading axis counts, in a shape that goes with an array."""
    return numbers.reshape(-1, *(1,) * (x.ndim - 1))


def length(stacked: Any) -> int:
    """How many the leading axis counts."""
    return next((len(g) for g in jax.tree.leaves(stacked)), 0)
