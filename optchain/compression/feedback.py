"""What the laws of this room share: what a device does not send it remembers, and adds to its next gradient."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import get_abstract_mesh

from optchain.compression.exchange import checked_axis, first_residual, mean, names_of
from optchain.core.definition import Result
from optchain.core.dense import Dense
from optchain.core.door import widened
from optchain.core.gather import gathered, scattered
from optchain.core.kinds import DRIFT
from optchain.core.mask import select
from optchain.core.numerics import all_finite
from optchain.core.paths import named_leaves
from optchain.core.routing import Given
from optchain.core.spread import bound, spread, varying


class Residual(NamedTuple):
    residual: jax.Array  # like p, what this device has not sent so far; with an axis, along a first axis of devices


class Compressed:
    """A law that sends a part of a leaf. A subclass, a rule with a field `axis`, says in `exchange` what it sends."""

    core_ndim = None
    kinds = {"residual": DRIFT}
    axis: Any

    def init(self, p: jax.Array) -> Any:
        return Residual(first_residual(self.axis, p))

    def axes(self, p: Any) -> dict[str, Any]:
        return {} if self.axis is None else {"residual": (names_of(self.axis), *range(p.ndim))}

    def exchange(self, x: jax.Array, t: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Of a vector, the mean over the devices of what they have sent, and what this one has sent."""
        raise NotImplementedError

    def message(self, x: Any) -> int:
        """The bytes of what a device sends of an array to one that adds up; by shape and dtype alone."""
        raise NotImplementedError

    def update(self, g: jax.Array, s: Any, p: Any, t: jax.Array) -> tuple[jax.Array, Any]:
        x = with_residual(g, s.residual)
        average, sent = (y.reshape(g.shape) for y in self.exchange(x.reshape(-1), t))
        return scattered(average, g), Residual(left(x - sent, s.residual))


def with_residual(g: jax.Array, residual: jax.Array) -> jax.Array:
    """A gradient and what has not been sent before it.

    All of it is NaN where any is not finite, so that what is sent is not, and each device sees that it must be dropped.
    """
    x = gathered(g + residual.reshape(g.shape), 0)
    return jnp.where(jnp.all(jnp.isfinite(x)), x, jnp.nan)


def left(x: jax.Array, residual: jax.Array) -> jax.Array:
    """What has not been sent, in the shape and the layout of the slot."""
    return scattered(x.reshape(residual.shape), residual)


@dataclasses.dataclass(frozen=True)
class AmongDevices(Dense):
    """Runs a law that sends a part of each leaf; what its mask leaves out is sent whole."""

    def __post_init__(self) -> None:
        checked_axis(self.name, self.rule.axis)

    @property
    def names(self) -> tuple[str, ...]:
        """The mesh axes along which each device has gradients of its own."""
        return names_of(self.rule.axis)

    @property
    def mixes(self) -> bool:  # pyright: ignore
        return not self.names  # along other mesh axes each device sends what it has, which is right here

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        if self.names:
            self._require_devices(updates)
            leaves, treedef = jax.tree.flatten(updates)
            inside = select(self.mask, updates, self.layers)
            leaves = [x if own else mean(x, self.names) for x, own in zip(leaves, inside, strict=True)]
            updates = treedef.unflatten(leaves)
        new, after, values = super().step(updates, state, params, given)
        finite = all_finite(new)
        if over := tuple(varying(finite)):
            finite = lax.pmin(finite.astype(jnp.int32), over) > 0
        # A step that a guard is about to reject leaves what has not been sent as it was, on all devices.
        after = jax.tree.map(lambda x, old: jnp.where(finite, x, old), after, state)
        return new, after, values

    def message(self, params: Any) -> int:
        """The bytes of what one device sends of gradients like the parameters to one that adds them up."""
        params = widened(params)
        own, rule = self.chosen(params), self._at(jnp.zeros((), jnp.int32), {})[0]
        whole = sum(p.nbytes for p in jax.tree.leaves(params)) - sum(p.nbytes for p in jax.tree.leaves(own))
        pairs = zip(self._forms(own), jax.tree.leaves(own), strict=True)
        return whole + sum(_message(rule, form, p) for form, p in pairs)

    def _require_devices(self, updates: Any) -> None:
        """The axes are those of a mapped function, and gradients are each device's own, or an error says what to do."""
        axes = " and ".join(map(repr, self.names))
        if not bound(self.names):
            cure = "step inside jax.shard_map, or jax.vmap with axis_name"
            raise ValueError(f"{self.name}: there are no devices along {axes} here; {cure}")
        known = [name for name in self.names if name in get_abstract_mesh().manual_axes]
        known = [name for name in known if varying(lax.axis_index(name))]  # else check_vma=False, and JAX does not say
        here = spread()
        for path, x in named_leaves(updates):
            if here is not None and (split := sorted(varying(x) & {*here.axes})):
                problem = f"under over_axes leaf {path!r} is split over {split}"
                cure = "it compresses what each device has: let it stand before over_axes"
                raise ValueError(f"{self.name}: {problem}; {cure}")
            if missing := [name for name in known if name not in varying(x)]:
                problem = f"the gradient of leaf {path!r} is the same on all devices along {missing[0]!r}"
                reason = "JAX sums the gradients of parameters that all devices share"
                cure = f"take the gradient at jax.lax.pcast(params, {missing[0]!r}, to='varying')"
                raise ValueError(f"{self.name}: {problem}; {reason}: {cure}")


def _message(rule: Any, form: Any, p: Any) -> int:
    """The bytes that a law sends of a leaf: of each array that it sees."""
    seen: list[Any] = []

    def number(x: jax.Array) -> jax.Array:
        seen.append(jax.ShapeDtypeStruct(x.shape, x.dtype))
        return jnp.full(x.shape, len(seen) - 1)

    with jax.ensure_compile_time_eval():
        entries = np.bincount(np.ravel(form.over(number)(jnp.zeros(p.shape, p.dtype))))
    return sum(n // x.size * rule.message(x) for n, x in zip(entries.tolist(), seen, strict=True))
