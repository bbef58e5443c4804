"""How parameters and slots are stored: master weights, Kahan compensation, stochastic rounding, bfloat16 slots."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.around import Around, stepped
from optchain.core.definition import Result
from optchain.core.door import like, widened
from optchain.core.holes import HOLE, is_hole
from optchain.core.lift import technique
from optchain.core.numbers import SEED, Seed, checked
from optchain.core.numerics import incremented, wide
from optchain.core.paths import map_named, nearest
from optchain.core.routing import Given
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale
from optchain.storage.rounding import random_bits, stochastic_round

PARAMS = ("nearest", "stochastic", "kahan", "master")
SLOTS = ("float32", "bfloat16")


@dataclasses.dataclass(frozen=True)
class Precision(Around):
    """Stores what the wrapped transformation computes in float32.

    State under its name: `count`; `rest`, for each narrow parameter its float32 master, or what its last rounding left
    (Kahan); `lost`, entries whose last update rounded to nothing.
    """

    params: str
    slots: str
    seed: Seed
    watch: bool

    name = "precision"

    @property
    def mixes(self) -> bool:  # pyright: ignore
        return self.params == "stochastic" or self.slots != "float32" or self.watch

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {"count": jnp.zeros((), jnp.int32), "lost": jnp.zeros((), jnp.float32)}
        return counts | {"rest": jax.tree.map(self._rest, params)}

    def start(self, params: Any) -> dict[str, Any]:
        state = super().start(widened(params))
        inner = self._narrowed(state["inner"], jnp.zeros((), jnp.int32))
        return state | {self.name: self.begin(params), "inner": inner}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"lost": own["lost"]} if self.watch else {}

    def outgoing(self, new: Any, grads: Any, params: Any) -> Any:
        return like(new, grads) if self.params == "nearest" else new

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        return self.propose(updates, state, params, given)

    def propose(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        """The float32 step that leads from the stored parameters to their successors."""
        exact, state = self._stepped(grads, state, params, given)
        if self.params == "nearest":
            return exact, self.with_shown(state), {}
        after, state = self._stored(exact, state, params)
        return jax.tree.map(lambda new, p: wide(new) - wide(p), after, params), self.with_shown(state), {}

    def advance(self, grads: Any, state: Any, params: Any, given: Given) -> Result:
        exact, state = self._stepped(grads, state, params, given)
        if self.params == "nearest":
            exact = jax.tree.map(lambda u, p: wide(p) + u, exact, params)
        after, state = self._stored(exact, state, params)
        return after, self.with_shown(state), {}

    def _stepped(self, grads: Any, state: Any, params: Any, given: Given) -> tuple[Any, dict[str, Any]]:
        """The update, or where it is to be stored in another way the exact new parameters, in float32."""
        self.require_state(state)
        if params is None and self.params != "nearest":
            raise ValueError("precision stores the parameters: call update(grads, state, params)")
        own = state[self.name]
        view = params if params is None else jax.tree.map(self._view, params, own["rest"])
        inner = jax.tree.map(lambda x: wide(x) if x.dtype == jnp.bfloat16 else x, state["inner"])
        new, held = stepped("", self.inner, widened(grads), inner, view, given.split(self.children())[""])
        count = incremented(own["count"])
        lost = own["lost"]
        if self.watch and params is not None:
            lost = lost_updates(new, params).astype(jnp.float32)
        after = {
            self.name: own | {"count": count, "lost": lost},
            "inner": held._replace(state=self._narrowed(held.state, count)),
        }
        return new if self.params == "nearest" else jax.tree.map(lambda p, u: p + u, view, new), after

    def _stored(self, exact: Any, state: dict[str, Any], params: Any) -> tuple[Any, dict[str, Any]]:
        """The parameters in their own dtypes, and the state with what their rounding leaves."""
        own = state[self.name]

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

    def _rest(self, p: Any) -> Any:
        if self.params not in ("kahan", "master") or jnp.asarray(p).dtype in (jnp.float32, jnp.float64):
            return HOLE
        return jnp.array(p, jnp.float32) if self.params == "master" else jnp.zeros_like(p)

    def _view(self, p: Any, rest: Any) -> jax.Array:
        """The parameter as exactly as it is known."""
        if is_hole(rest):
            return wide(p)
        return rest if self.params == "master" else wide(p) + wide(rest)

    def _narrowed(self, inner: Any, count: jax.Array) -> Any:
        if self.slots == "float32":
            return inner

        def narrow(leaf: str, x: jax.Array) -> jax.Array:
            if x.dtype != jnp.float32 or not x.ndim:
                return x
            return stochastic_round(x, random_bits(x.shape, self.seed, count, f"slots/{leaf}"))

        return map_named(narrow, inner)


@technique(tx=scale(-0.1))
def precision(
    tx: optax.GradientTransformation,
    params: str = "nearest",
    slots: str = "float32",
    seed: Seed = 0,
    watch: bool = False,
) -> Transform:
    r"""Stores parameters narrower than float32, and slots, so that small updates are not lost.

    The wrapped transformation computes in float32, on the parameters as exactly as they are known. What it leads to is
    stored, for parameters in bfloat16 or float16, by

    - `"nearest"`: rounding, as without this wrapper: an update below half a unit in the last place is lost;
    - `"stochastic"`: rounding up or down at random, exact on average (bfloat16 only, no memory);
    - `"kahan"`: rounding, the remainder kept in a second array of the same dtype and added at the next step;
    - `"master"`: rounding, from a float32 copy in the state.

    It is the outermost wrapper, or stands within other wrappers of optchain: a chain hands its links float32
    parameters. `oc.apply` stores exactly this. `update` returns the float32 step there, which `optax.apply_updates`
    lands on the same value wherever float32 can express it; what it misses the next step corrects.

    Args:
        tx: any transformation.
        params: one of the four words above.
        slots: "float32", or "bfloat16" with stochastic rounding for every array in the state of `tx` that has axes.
        seed: of the random bits, a whole number or a key of `jax.random`, which may be traced. They are a hash of seed,
            step, path and element: the same however arrays are sharded.
        watch: count the entries whose update would round to nothing, as the metric `precision.lost`; one more pass.

    Shapes and dtypes: any; parameters in float32 are stored as usual.

    Differs from the paper: the compensation of Kahan is that of the stored parameter alone, with no running error of
    the compensation itself.

    Raises:
        ValueError: an unknown word, or a seed that is neither a whole number nor a key.

    References:
        Zamirai et al., 2020, Algorithms 2 and 3. https://arxiv.org/abs/2010.06192
        Micikevicius et al., 2017, section 3.1 (master weights). https://arxiv.org/abs/1710.03740

    >>> import optchain as oc
    >>> tx = oc.precision(oc.adamw(1e-3), params="stochastic", slots="bfloat16")
    """
    for name, word, valid in (("params", params, PARAMS), ("slots", slots, SLOTS)):
        if word not in valid:
            raise ValueError(f"precision: {name} is {word!r}; {nearest(str(word), valid)}")
    seed = checked("precision", "seed", seed, SEED)
    return transform(Precision(tx, params=params, slots=slots, seed=seed, watch=watch))


def lost_updates(updates: Any, params: Any) -> jax.Array:
    """The number of entries that an update leaves as they are, though it is not 0, when the sum is rounded to nearest.

    Args:
        updates: what `update` returns, or in float32 what is to be added.
        params: the parameters, in the dtype they are stored in.
    """

    def lost(u: jax.Array, p: jax.Array) -> jax.Array:
        return jnp.sum((u != 0) & ((wide(p) + wide(u)).astype(p.dtype) == p), dtype=jnp.int32)

    return sum(jax.tree.leaves(jax.tree.map(lost, updates, params)), jnp.zeros((), jnp.int32))
