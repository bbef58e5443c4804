"""Rows that wake up and make up for the steps that they slept through."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.around import Around, stepped
from optchain.core.boxes import named, put_as
from optchain.core.definition import Result
from optchain.core.holes import is_hole, part
from optchain.core.numerics import incremented, wide
from optchain.core.paths import named_leaves
from optchain.core.places import at_places
from optchain.core.routing import Given
from optchain.core.states import kept
from optchain.core.transform import step
from optchain.embeddings.requirements import are_tables, shrinks
from optchain.embeddings.sleep import waking

SHRINKING = ("shrink", "shrink_rest", "shrunk", "shrunk_rest")


@dataclasses.dataclass(frozen=True)
class CatchUp(Around):
    """Decays the slots and the weights of rows by the steps since they were touched, then runs `inner` on them.

    State under its name: `count`; trees like the parameters, of the tables alone: `last`, the count when a row was last
    touched; where weights decay, `shrink`, the logarithm of what the decay of all steps so far has made of a parameter,
    and `shrunk`, what that was when a row was last touched; each with what its float32 leaves over, in `shrink_rest`,
    `shrunk_rest`.
    """

    tables: tuple[str, ...]

    name = "catch_up"

    def begin(self, params: Any) -> dict[str, Any]:
        tables = part(params, are_tables(self.tables, params))

        def of_tables(axes: tuple[int, ...], dtype: Any = None) -> Any:
            """Zeros that follow these axes of each table."""
            zeros = jax.tree.map(lambda p: jnp.zeros(p.shape[: len(axes)], dtype), tables)
            return named(zeros, params, lambda p: axes)

        own = {"count": jnp.zeros((), jnp.int32), "last": of_tables((0,), jnp.int32)}
        if shrinks(self.inner):
            own |= {name: of_tables(()) for name in ("shrink", "shrink_rest")}
            own |= {name: of_tables((0,)) for name in ("shrunk", "shrunk_rest")}
        return own

    def step(self, updates: Any, state: Any, params: Any, given: Given) -> Result:
        """One update of rows all of which are touched, and of all other parameters."""
        own, shrinking = _opened(state[self.name], params), shrinks(self.inner)
        count, last = own["count"], own["last"]
        slept = {leaf: count - then for leaf, then in named_leaves(last)}
        awake = _awake(own, params) if shrinking else params
        caught = dataclasses.replace(given, around=waking(slept))
        us, inner = stepped("", self.inner, updates, state["inner"], awake, caught)
        if shrinking:
            us = jax.tree.map(
                lambda u, then, p, old: u if is_hole(then) else u + (p - wide(old)), us, last, awake, params
            )
        after = self._shrunk(updates, own, state["inner"], params, given) if shrinking else {}
        count = incremented(count)
        after |= {"last": jax.tree.map(lambda then: jnp.maximum(then, count), last)}
        after = {name: put_as(state[self.name][name], tree, params) for name, tree in after.items()}
        return us, self.with_shown({self.name: after | {"count": count}, "inner": inner}), {}

    def _shrunk(self, updates: Any, own: Any, inner: Any, params: Any, given: Given) -> dict[str, Any]:
        """What the decay of weights has made of a parameter of each table after this step too."""

        def row(x: Any, then: Any, fill: float) -> Any:
            return x if is_hole(x) or is_hole(then) or not x.ndim else jnp.full((1, *x.shape[1:]), fill, x.dtype)

        # A row of ones, without a gradient and with fresh slots, goes through all links: with any masks, factors and
        # schedules, what is left of it is what is left of a row at rest. XLA drops the rest of this second step.
        still = jax.tree.map(lambda g, then: row(g, then, 0.0), updates, own["last"])
        ones = jax.tree.map(lambda p, then: row(p, then, 1.0), params, own["last"])
        fresh = at_places(
            self.inner,
            lambda x, p, then: row(x, then, 0.0),
            inner,
            params,
            own["last"],
            otherwise=lambda x: x,
        )
        us, _, _ = step(self.inner, still, fresh, ones, given)

        def added(u: jax.Array, now: Any, rest: Any) -> Any:
            if is_hole(now):
                return now, now
            # Kahan's sum: what thousands of steps leave over is otherwise lost in a logarithm that grows.
            more = rest + jnp.log1p(jnp.maximum(u.ravel()[0], -1 + 1e-6))
            return now + more, more - ((now + more) - now)

        both = jax.tree.map(added, us, own["shrink"], own["shrink_rest"])
        treedef = jax.tree.structure(params)
        now, rest = (treedef.unflatten(x) for x in zip(*treedef.flatten_up_to(both), strict=True))
        spread = {
            name: jax.tree.map(lambda then, x: jnp.where(jnp.isnan(then), then, x), own[name], x)
            for name, x in (("shrunk", now), ("shrunk_rest", rest))
        }
        return {"shrink": now, "shrink_rest": rest} | spread


def awake_params(state: Any, params: Any) -> Any:
    """The parameters as if all rows of tables woke now, and made up for the decay of their weights.

    For evaluation and export, where weight decay is decay-corrected. The rows themselves stay as they are:
    continue training with `params`.

    Args:
        state: an optimizer state.
        params: the parameters that it belongs to.

    Returns:
        Parameters in the dtypes of `params`; those themselves where no weight decays in its sleep.
    """
    for own in kept(state, CatchUp.name):
        if "shrink" not in own:
            continue
        own = _opened(own, params)
        params = jax.tree.map(
            lambda now, p, new: p if is_hole(now) else new.astype(p.dtype),
            own["shrink"],
            params,
            _awake(own, params),
            is_leaf=is_hole,
        )
    return params


def _opened(own: dict[str, Any], params: Any) -> dict[str, Any]:
    """The wrapper's own trees, in the boxes of the parameters."""
    return {name: tree if name == "count" else put_as(params, tree, params) for name, tree in own.items()}


def _awake(own: Any, params: Any) -> Any:
    """The parameters, whose rows have made up for the decay of their weights; those of tables in float32 or wider."""

    def awake(now: Any, p: Any, now_rest: Any, then: Any, then_rest: Any) -> Any:
        if is_hole(now):
            return p
        return wide(p) * jnp.expand_dims(jnp.exp((now - then) + (now_rest - then_rest)), range(1, p.ndim))

    now, *others = (own[name] for name in SHRINKING)
    # Where nothing shrinks a parameter may be anything, such as `None`.
    return jax.tree.map(awake, now, params, *others, is_leaf=is_hole)
