"""The wrapper that stores parameters, whole arrays of slots and what rounding leaves of parameters."""

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around, stepped
from optchain.core.definition import Result
from optchain.core.door import like, widened
from optchain.core.gather import mesh_of
from optchain.core.holes import HOLE, is_hole
from optchain.core.numbers import Seed
from optchain.core.numerics import incremented, wide
from optchain.core.paths import map_named, named_leaves
from optchain.core.routing import Given
from optchain.core.whole import part_from
from optchain.storage.chunks import in_parts, part_size
from optchain.storage.in_one import Together, together
from optchain.storage.memory import away, near, require_memory
from optchain.storage.rounding import random_bits, stochastic_round
from optchain.storage.split import DTYPES, joined, split

PARAMS = ("nearest", "stochastic", "kahan", "master", "split", "split8")


@dataclasses.dataclass(frozen=True)
class Precision(Around):
    """Stores what the wrapped transformation computes in float32.

    State under its name: `count`; `rest`, for each narrow parameter its float32 master, or what its last rounding left
    (Kahan, split); `lost`, entries whose last update rounded to nothing.
    """

    params: str
    slots: Any
    seed: Seed
    watch: bool
    memory: str
    min_size: int

    name = "precision"

    @property
    def mixes(self) -> bool:
        return self.params in ("stochastic", "split8") or self.slots != "float32" or self.watch

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {"count": jnp.zeros((), jnp.int32), "lost": jnp.zeros((), jnp.float32)}
        return counts | {"rest": jax.tree.map(self._rest, params)}

    def start(self, params: Any) -> dict[str, Any]:
        require_memory(self.memory)
        state = super().start(widened(params))
        inner = self._narrowed(state["inner"], jnp.zeros((), jnp.int32))
        return self._away(state | {self.name: self.begin(params), "inner": inner})

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"lost": own["lost"]} if self.watch else {}

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        return like(new, grads) if self.params == "nearest" else new

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self.propose(updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """The float32 step that leads from the stored parameters to their successors."""
        exact, state, large = self._stepped(grads, near(state, self.memory, self.min_size), params, given)
        if self.params == "nearest":
            return exact, self._away(self.with_shown(state)), {}
        after, state = self._stored(exact, state, params, large)
        step = jax.tree.map(lambda new, p: wide(new) - wide(p), after, params)
        return step, self._away(self.with_shown(state)), {}

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        exact, state, large = self._stepped(grads, near(state, self.memory, self.min_size), params, given)
        if self.params == "nearest":
            exact = jax.tree.map(lambda u, p: wide(p) + u, exact, params)
        after, state = self._stored(exact, state, params, large)
        return after, self._away(self.with_shown(state)), {}

    def _away(self, state: dict[str, Any]) -> dict[str, Any]:
        return away(state, self.memory, self.min_size)

    def _stepped(self, grads: Any, state: Any, params: Any, given: Given) -> tuple[Any, dict[str, Any], Together]:
        """The update, or where it is to be stored in another way the exact new parameters, in float32; and what is left
        to be done for large leaves."""
        self.require_state(state)
        if params is None and self.params != "nearest":
            raise ValueError("precision stores the parameters: call update(grads, state, params)")
        own = state[self.name]
        view = params if params is None else jax.tree.map(self._view, params, own["rest"])
        inner = state["inner"]
        if self.slots == "bfloat16":
            inner = jax.tree.map(lambda x: wide(x) if x.dtype == jnp.bfloat16 else x, inner)
        within, large = given.split(self.children())[""], self._large(grads, params, own, given)
        grads = widened(grads)
        new, held = stepped("", self.inner, grads, inner, view, large.given(within) if large.leaves else within)
        if not large.fits:
            new, held = stepped("", self.inner, grads, inner, view, within)
            large.calls.clear()
        count = incremented(own["count"])
        lost = own["lost"]
        if self.watch and params is not None:
            lost = lost_updates(new, params).astype(jnp.float32)
        after = {
            self.name: own | {"count": count, "lost": lost},
            "inner": held._replace(state=self._narrowed(held.state, count)),
        }
        return new if self.params == "nearest" else jax.tree.map(lambda p, u: p + u, view, new), after, large

    def _large(self, grads: Any, params: Any, own: dict[str, Any], given: Given) -> Together:
        """The links and the leaves that are stepped with the parameters, part by part: large ones on one device."""
        if self.params not in DTYPES or self.watch or given.around is not None:
            return together(self.inner, {})
        leaves, treedef = jax.tree.flatten(grads)
        rows = zip(leaves, named_leaves(params), treedef.flatten_up_to(own["rest"]), strict=True)
        large = {leaf: g for g, (leaf, p), rest in rows if not is_hole(rest) and g.shape == p.shape and _is_cut(p)}
        return together(self.inner, large)

    def _stored(self, exact: Any, state: dict[str, Any], params: Any, large: Together) -> tuple[Any, dict[str, Any]]:
        """The parameters in their own dtypes, and the state with what their rounding leaves."""
        own = state[self.name]

        if self.params in DTYPES:
            return self._split(exact, state, params, large)

        def rounded(leaf: str, x: jax.Array, p: jax.Array) -> jax.Array:
            if self.params == "stochastic" and p.dtype == jnp.bfloat16:
                return stochastic_round(x, random_bits(x.shape, self.seed, own["count"], leaf))
            return x.astype(p.dtype)

        after = map_named(rounded, exact, params)
        kept = {
            "master": lambda x, new, old: x,
            "kahan": lambda x, new, old: (x - wide(new)).astype(new.dtype),
        }.get(self.params)
        if kept is None:
            return after, state
        rest = jax.tree.map(
            lambda old, x, new: old if is_hole(old) else kept(x, new, old), own["rest"], exact, after, is_leaf=is_hole
        )
        return after, state | {self.name: own | {"rest": rest}}

    def _split(self, exact: Any, state: dict[str, Any], params: Any, large: Together) -> tuple[Any, dict[str, Any]]:
        """The parameters in bfloat16, and the state with the bits that they lack."""
        slots: dict[int, jax.Array] = {}
        own = state[self.name]
        leaves, treedef = jax.tree.flatten(exact)
        rests = treedef.flatten_up_to(own["rest"])
        after: list[Any] = []
        for i, ((leaf, p), x, old) in enumerate(zip(named_leaves(params), leaves, rests, strict=True)):
            if is_hole(old):
                after.append(x.astype(p.dtype))
                continue
            if leaf in large.calls:
                store = functools.partial(self._split_part, leaf, own["count"])
                (stored, rests[i]), news = large.stepped(leaf, (p, old), joined, store, own["count"])
                slots |= news
            else:
                stored, rests[i] = self._split_leaf(leaf, x, (p, old), own["count"])
            after.append(stored)
        held = state["inner"]
        held = held._replace(state=jax.tree.map(lambda x: slots.get(id(x), x), held.state)) if slots else held
        return treedef.unflatten(after), state | {
            self.name: own | {"rest": treedef.unflatten(rests)},
            "inner": held,
        }

    def _split_leaf(self, leaf: str, x: jax.Array, stored: Any, count: jax.Array) -> Any:
        """One parameter in bfloat16 and the bits that it lacks, which overwrite the stored ones."""

        part = functools.partial(self._split_part, leaf, count)
        if not _is_cut(x):
            return part(0, stored, x)
        # At once, XLA on a CPU computes each of the two from both old ones, and copies these before.
        return in_parts(part, x.shape, x.shape[-1], stored, x, count)

    def _split_part(self, leaf: str, count: jax.Array, first: Any, old: Any, exact: jax.Array) -> Any:
        bits = None
        if self.params == "split8":
            with part_from(first):
                bits = random_bits(exact.shape, self.seed, count, leaf)
        return split(exact, old[1].dtype, bits)

    def _rest(self, p: Any) -> Any:
        dtype = jnp.asarray(p).dtype
        if self.params in DTYPES:
            return jnp.zeros_like(p, DTYPES[self.params]) if dtype == jnp.bfloat16 else HOLE
        if self.params not in ("kahan", "master") or dtype in (jnp.float32, jnp.float64):
            return HOLE
        return jnp.array(p, jnp.float32) if self.params == "master" else jnp.zeros_like(p)

    def _view(self, p: Any, rest: Any) -> jax.Array:
        """The parameter as exactly as it is known."""
        if is_hole(rest):
            return wide(p)
        if self.params in DTYPES:
            return joined(p, rest)
        return rest if self.params == "master" else wide(p) + wide(rest)

    def _narrowed(self, inner: Any, count: jax.Array) -> Any:
        if self.slots != "bfloat16":
            return inner

        def narrow(leaf: str, x: jax.Array) -> jax.Array:
            if x.dtype != jnp.float32 or not x.ndim:
                return x
            return stochastic_round(x, random_bits(x.shape, self.seed, count, f"slots/{leaf}"))

        return map_named(narrow, inner)


def _is_cut(x: jax.Array) -> bool:
    """Whether a leaf is stored part by part: it is large, and on one device."""
    return x.size > part_size() and math.prod(mesh_of(x).shape.values()) == 1


def lost_updates(updates: Any, params: Any) -> jax.Array:
    """The number of entries that an update leaves as they are, though it is not 0, when the sum is rounded to nearest.

    Args:
        updates: what `update` returns, or in float32 what is to be added.
        params: the parameters, in the dtype they are stored in.
    """

    def lost(u: jax.Array, p: jax.Array) -> jax.Array:
        return jnp.sum((u != 0) & ((wide(p) + wide(u)).astype(p.dtype) == p), dtype=jnp.int32)

    return sum(jax.tree.leaves(jax.tree.map(lost, updates, params)), jnp.zeros((), jnp.int32))
