"""Rows that wake up and make up for the steps that they slept through."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.numerics import wide
from optchain.core.paths import path_of
from optchain.core.runner import Result, left_out
from optchain.core.transform import step
from optchain.core.wrapper import Wrapper
from optchain.embeddings.requirements import are_tables, shrinks
from optchain.masking.rules import part

SHRINKING = ("shrink", "shrink_rest", "shrunk", "shrunk_rest")


@dataclasses.dataclass(frozen=True)
class CatchUp(Wrapper):
    """Decays the slots and the weights of rows by the steps since they were touched, then runs `inner` on them.

    State: `count`; trees like the parameters, of the tables alone: `last`, the count when a row was last touched; where
    weights decay, `shrink`, the logarithm of what the decay of all steps so far has made of a parameter, and `shrunk`,
    what that was when a row was last touched; each with what its float32 leaves over, in `shrink_rest`, `shrunk_rest`.
    """

    tables: tuple[str, ...]

    name = "catch_up"

    def start(self, params: Any) -> dict[str, Any]:
        tables = part(params, are_tables(self.tables, params))
        own = {
            "count": jnp.zeros((), jnp.int32),
            "last": jax.tree.map(lambda p: jnp.zeros(p.shape[:1], jnp.int32), tables),
        }
        if shrinks(self.inner):
            for name in ("shrink", "shrink_rest"):
                own[name] = jax.tree.map(lambda p: jnp.zeros(()), tables)
            for name in ("shrunk", "shrunk_rest"):
                own[name] = jax.tree.map(lambda p: jnp.zeros(p.shape[:1]), tables)
        return own

    def step(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> Result:
        """One update of rows all of which are touched, and of all other parameters."""
        count, last = state["count"], state["last"]
        slept = {path_of(path): count - then for path, then in jax.tree.leaves_with_path(last)}
        awake = _awake(state, params) if shrinks(self.inner) else params
        us, inner, metrics = step(self.inner, updates, state["inner"], awake, extra | {"slept": slept})
        if shrinks(self.inner):
            us = jax.tree.map(
                lambda u, then, p, old: u if left_out(then) else u + (p - wide(old)), us, last, awake, params
            )
        count = jnp.asarray(optax.safe_increment(count))
        own = self._shrunk(updates, state, params, extra) if shrinks(self.inner) else {}
        own |= {"count": count, "last": jax.tree.map(lambda then: jnp.maximum(then, count), last)}
        return us, self._with_metrics(own | {"inner": inner}), metrics

    def _shrunk(self, updates: Any, state: Any, params: Any, extra: dict[str, Any]) -> dict[str, Any]:
        """What the decay of weights has made of a parameter of each table after this step too."""

        def one(x: Any, then: Any, fill: float) -> Any:
            return x if left_out(x) or left_out(then) or not x.ndim else jnp.full((1, *x.shape[1:]), fill, x.dtype)

        # A row of ones, without a gradient and with fresh slots, goes through all links: whatever their masks, factors
        # and schedules, what is left of it is what is left of a row at rest. XLA drops the rest of this second step.
        still = jax.tree.map(lambda g, then: one(g, then, 0.0), updates, state["last"])
        ones = jax.tree.map(lambda p, then: one(p, then, 1.0), params, state["last"])
        fresh = optax.tree.map_params(
            self.inner, lambda x, then: one(x, then, 0.0), state["inner"], state["last"], is_leaf=left_out
        )
        us, _, _ = step(self.inner, still, fresh, ones, extra)

        def added(u: jax.Array, now: Any, rest: Any) -> Any:
            if left_out(now):
                return now, now
            # Kahan's sum: what thousands of steps leave over is otherwise lost in a logarithm that grows.
            more = rest + jnp.log1p(jnp.maximum(u.ravel()[0], -1 + 1e-6))
            return now + more, more - ((now + more) - now)

        both = jax.tree.map(added, us, state["shrink"], state["shrink_rest"])
        treedef = jax.tree.structure(params)
        now, rest = (treedef.unflatten(x) for x in zip(*treedef.flatten_up_to(both), strict=True))
        spread = {
            name: jax.tree.map(lambda then, x: jnp.where(jnp.isnan(then), then, x), state[name], x)
            for name, x in (("shrunk", now), ("shrunk_rest", rest))
        }
        return {"shrink": now, "shrink_rest": rest} | spread


def awake_params(state: Any, params: Any) -> Any:
    """The parameters as if all rows of tables woke now, and made up for the decay of their weights.

    For evaluation and export, where weight decay is decay-corrected. The rows themselves stay as they are: go on
    training with `params`.

    Args:
        state: an optimizer state.
        params: the parameters that it belongs to.

    Returns:
        Parameters in the dtypes of `params`; those themselves where no weight decays in its sleep.
    """
    sleeping = [x for x in jax.tree.leaves(state, is_leaf=_sleeps) if _sleeps(x)]
    for own in sleeping:
        params = jax.tree.map(lambda p, new: new.astype(p.dtype), params, _awake(own, params))
    return params


def _sleeps(x: Any) -> bool:
    return isinstance(x, dict) and {"count", "last", "inner", *SHRINKING} <= set(x)


def _awake(state: Any, params: Any) -> Any:
    """The parameters, whose rows have made up for the decay of their weights; those of tables in float32 or wider."""

    def awake(p: jax.Array, now: Any, now_rest: Any, then: Any, then_rest: Any) -> jax.Array:
        if left_out(now):
            return p
        return wide(p) * jnp.expand_dims(jnp.exp((now - then) + (now_rest - then_rest)), range(1, p.ndim))

    return jax.tree.map(awake, params, *(state[name] for name in SHRINKING))
