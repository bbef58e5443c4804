"""Gradient accumulation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.numerics import all_finite, wide
from optchain.core.paths import path_of
from optchain.core.row_gradient import RowGradient, is_row_gradient
from optchain.core.rule import Number, Range, checked, whole
from optchain.core.runner import left_out, prune
from optchain.core.transform import Transform, row_tables, technique, transform
from optchain.core.wrapper import Take, Wrapper
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Accumulate(Wrapper):
    """Averages micro-batches and steps on their mean.

    State: `micro`, micro-batches seen since the last step; `weight`, the total weight of those that are in `mean`;
    `emitted`, steps made; `dropped`, micro-batches refused; `mean`, a tree like the parameters.
    """

    every: Number
    rows: int | None

    takes_rows = True

    def start(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("micro", "emitted", "dropped")}
        mean = jax.tree.map(jnp.zeros_like, params)
        if self.rows is not None:
            room = round(self.every) * self.rows
            tables = prune(row_tables(self.inner), params)
            mean = jax.tree.map(lambda x, p: x if left_out(p) else RowGradient.none(p, room), mean, tables)
        return counts | {"weight": jnp.zeros((), jnp.float32), "mean": mean}

    def shown(self, state: dict[str, Any]) -> dict[str, jax.Array]:
        return {name: state[name] for name in ("micro", "emitted", "dropped")} | {"every": self._every(state)}

    def run(self, updates: Any, state: Any, extra: dict[str, Any], nothing: Any, take: Take) -> tuple[Any, Any]:
        weight = jnp.asarray(extra.get("weight", 1.0), jnp.float32)
        finite = all_finite(updates) & jnp.isfinite(weight)
        counts = finite & (weight > 0)
        weights = jnp.where(counts, state["weight"] + weight, state["weight"])
        # A running mean instead of a sum: nothing is left to divide at a step, so XLA stores no second tree; and with
        # the share 1 of a first micro-batch it begins anew, so that no step need write zeros.
        share = weight / jnp.where(counts, weights, 1)

        def add(mean: Any, g: Any) -> Any:
            r = share.astype(mean.dtype)
            if not is_row_gradient(mean):
                return jnp.where(counts, (1 - r) * mean + r * wide(g), mean)
            # Each micro-batch has a place of its own, written anew before every step: none need be cleared.
            weighed = jnp.where(counts, (1 - r) * mean.values, mean.values)
            rows = RowGradient(g.bounded(), r * wide(g.values), g.num_rows).padded(self.rows)
            own = jnp.where(counts, rows.indices, g.num_rows), jnp.where(counts, rows.values, 0)
            at = state["micro"] * self.rows
            put = jax.lax.dynamic_update_slice_in_dim
            return RowGradient(put(mean.indices, own[0], at, 0), put(weighed, own[1], at, 0), mean.num_rows)

        self._require_room(updates, state["mean"])
        mean = jax.tree.map(add, state["mean"], updates, is_leaf=is_row_gradient)
        nothing = jax.tree.map(_nothing, nothing, mean, is_leaf=is_row_gradient)
        micro = optax.safe_increment(state["micro"])
        full = micro >= self._every(state)
        emits = full & (weights > 0)

        def emit(inner: Any) -> tuple[Any, Any]:
            return take(mean, inner, extra | {"step": state["emitted"]})

        result, inner = jax.lax.cond(emits, emit, lambda inner: (nothing, inner), state["inner"])
        return result, {
            "micro": jnp.where(full, 0, micro),
            "emitted": state["emitted"] + emits.astype(jnp.int32),
            "dropped": state["dropped"] + (~finite).astype(jnp.int32),
            "weight": jnp.where(full, 0, weights),
            "mean": mean,
            "inner": inner,
        }

    def _require_room(self, updates: Any, mean: Any) -> None:
        """The gradients of rows, and no others, have a place in the mean that is large enough."""
        rooms = dict(jax.tree.leaves_with_path(mean, is_leaf=is_row_gradient))
        for path, g in jax.tree.leaves_with_path(updates, is_leaf=is_row_gradient):
            leaf = f"accumulate: leaf {path_of(path)!r} has"
            if is_row_gradient(g) and not is_row_gradient(rooms[path]):
                wanted = f"accumulate(rows(tx, tables), every, rows={len(g.indices)}) makes room for them"
                raise ValueError(f"{leaf} a gradient of rows; {wanted}")
            if is_row_gradient(rooms[path]) and len(getattr(g, "indices", g)) > self.rows:
                found = f"{len(g.indices)} rows" if is_row_gradient(g) else "a dense gradient"
                raise ValueError(f"{leaf} {found}, but there is room for {self.rows} rows")

    def _every(self, state: dict[str, Any]) -> jax.Array:
        every = self.every(state["emitted"]) if callable(self.every) else self.every
        return jnp.round(jnp.asarray(every, jnp.float32)).astype(jnp.int32)


def _nothing(nothing: Any, mean: Any) -> Any:
    """The update of no step, of a table with as many rows as that of a step."""
    return dataclasses.replace(mean, values=jnp.zeros_like(mean.values)) if is_row_gradient(nothing) else nothing


@technique(tx=scale(-0.1), every=2)
def accumulate(tx: optax.GradientTransformation, every: Number, rows: int | None = None) -> Transform:
    r"""Steps once every few micro-batches, on the mean of their gradients.

    .. math::
        \bar g = \frac{\sum_i w_i g_i}{\sum_i w_i}, \qquad u = \mathrm{tx}(\bar g)\ \text{at the last},\ 0\ \text{else}

    The wrapped transformation runs only when it steps; between steps its state rests and the update is zero. A
    micro-batch with a NaN or infinity is left out of the mean and counted; if all are, no step is made. For a model
    without batch statistics or dropout the step is that of one large batch.

    Args:
        tx: any transformation. Its schedules count the steps made, not the micro-batches.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.
        rows: where `tx` is `optchain.rows`, the look-ups of a micro-batch in a table, at most: room is made for `every`
            times as many, and `every` is constant.

    `update` and `oc.apply` take the extra argument `weight`, the weight w of this micro-batch: the number of its
    tokens, where the loss is a mean over tokens. All others are forwarded, at a step those of its last micro-batch.
    Through `oc.apply` a micro-batch costs a test of its gradients and the addition; `update` writes zeros besides.

    A weight of 0 leaves a micro-batch out; a negative one does too.

    Metrics: `accumulate.micro`, `accumulate.emitted`, `accumulate.dropped`, `accumulate.every`.

    Shapes and dtypes: any; the running mean is like the parameters, in float32 or wider.

    Raises:
        ValueError: `every` below 1; `rows` where nothing takes them; while tracing, more look-ups than `rows`.

    >>> import optchain as oc
    >>> tx = oc.accumulate(oc.adamw(1e-3), every=8)
    """
    every = checked("accumulate", "every", every, Range("[1, inf)"))
    if rows is not None:
        whole("accumulate", "rows", rows, 1)
        if not isinstance(every, float):
            raise ValueError(f"accumulate: every must be a constant where rows are accumulated, got {every!r}")
        if not row_tables(tx):
            raise ValueError(f"accumulate: rows are for the gradients of rows(tx, tables), which is not in {tx!r}")
    return transform(Accumulate(tx, every, rows))
