"""Gradient accumulation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.control.extra_means import (
    begun_again,
    no_means,
    require_means,
    require_no_functions,
    with_means,
    with_sample,
)
from optchain.control.micro_batches import is_full, is_one, micro_batches
from optchain.core.gate import Gate, Routed, Take
from optchain.core.holes import is_hole, part
from optchain.core.lift import technique
from optchain.core.mask import select
from optchain.core.numbers import Number, Range, checked, whole
from optchain.core.numerics import all_finite, incremented, wide
from optchain.core.paths import named_leaves
from optchain.core.row_gradient import RowGradient, is_row_gradient
from optchain.core.transform import Transform, transform
from optchain.core.walk import readers
from optchain.embeddings.rows import row_tables
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Accumulate(Gate):
    """Averages micro-batches and steps on their mean.

    State under its name: `micro`, micro-batches seen since the last step; `weight`, the total weight of those that
    are in `mean`; `emitted`, steps made; `dropped`, micro-batches refused; `mean`, a tree like the parameters;
    `extras`, for each extra argument that `inner` reads its `mean` and the `weight` in that.
    """

    every: Number
    rows: int | None

    name = "accumulate"
    reads = ("weight", "emit")
    mixes = True

    def takes(self) -> frozenset[str]:
        # The mean of the i-th examples of all micro-batches is no example, and to clip it protects none.
        return super().takes() - {"examples"}

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("micro", "emitted", "dropped")}
        mean = jax.tree.map(jnp.zeros_like, params)
        if self.rows is not None and isinstance(self.every, float):
            room = round(self.every) * self.rows
            tables = part(params, select(row_tables(self.inner), params))
            mean = jax.tree.map(lambda x, p: x if is_hole(p) else RowGradient.none(p, room), mean, tables)
        return counts | {"weight": jnp.zeros((), jnp.float32), "mean": mean, "extras": no_means(self.inner, params)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {name: own[name] for name in ("micro", "emitted", "dropped")} | {
            "every": micro_batches(self.every, own["emitted"])
        }

    def run(self, grads: Any, state: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        own, given = state[self.name], routed[""]
        weight = jnp.asarray(given.extra.get("weight", 1.0), jnp.float32)
        finite = all_finite(grads) & jnp.isfinite(weight)
        counts = finite & (weight > 0)
        weights = jnp.where(counts, own["weight"] + weight, own["weight"])
        # A running mean instead of a sum: nothing is left to divide at a step, so XLA stores no second tree; and with
        # the share 1 of a first micro-batch it starts again, so that no step need write zeros.
        share = weight / jnp.where(counts, weights, 1)

        def add(mean: Any, g: Any) -> Any:
            r = share.astype(mean.dtype)
            if not is_row_gradient(mean):
                return jnp.where(counts, (1 - r) * mean + r * wide(g), mean)
            # Each micro-batch has a place of its own, written again before every step: none need be cleared.
            weighed = jnp.where(counts, (1 - r) * mean.values, mean.values)
            rows = RowGradient(g.bounded(), r * wide(g.values), g.num_rows).padded(self.rows or 0)
            indices, values = jnp.where(counts, rows.indices, g.num_rows), jnp.where(counts, rows.values, 0)
            place, put = own["micro"] * self.rows, jax.lax.dynamic_update_slice_in_dim
            return RowGradient(put(mean.indices, indices, place, 0), put(weighed, values, place, 0), mean.num_rows)

        self._require_room(grads, own["mean"])
        if not is_one(self.every):
            require_no_functions(self.name, self.inner, given.extra)
        mean = jax.tree.map(add, own["mean"], grads, is_leaf=is_row_gradient)
        nothing = jax.tree.map(_nothing, nothing, mean, is_leaf=is_row_gradient)
        micro = incremented(own["micro"])
        full = is_full(self.every, own["emitted"], micro, given.extra)
        emits = full & (weights > 0)
        extras = with_sample(self.name, own["extras"], given.extra, weight, counts)
        seen = given.at(own["emitted"])
        if readers(self.inner, "weight"):
            seen = seen.with_extra(weight=weights)

        def emit(inner: Any) -> tuple[Any, Any]:
            grads = jax.tree.map(lambda x: self._filled(x, micro), mean, is_leaf=is_row_gradient)
            return with_means(self.name, extras, seen, lambda given: take(grads, inner, given))

        result, inner = jax.lax.cond(emits, emit, lambda inner: (nothing, inner), state["inner"])
        after = {
            "micro": jnp.where(full, 0, micro),
            "emitted": own["emitted"] + emits.astype(jnp.int32),
            "dropped": own["dropped"] + (~finite).astype(jnp.int32),
            "weight": jnp.where(full, 0, weights),
            "mean": mean,
            "extras": begun_again(extras, full),
        }
        return result, {self.name: after, "inner": inner}

    def _filled(self, mean: Any, micro: jax.Array) -> Any:
        """A gradient of rows without the places that no micro-batch has filled since the last step."""
        if not is_row_gradient(mean):
            return mean
        here = jnp.arange(len(mean.indices)) < micro * (self.rows or len(mean.indices))
        return dataclasses.replace(mean, indices=jnp.where(here, mean.indices, mean.num_rows))

    def _require_room(self, grads: Any, mean: Any) -> None:
        """The gradients of rows, and no others, have a place in the mean that is large enough."""
        rooms = dict(named_leaves(mean, is_row_gradient))
        for path, g in named_leaves(grads, is_row_gradient):
            leaf = f"accumulate: leaf {path!r} has"
            if is_row_gradient(g) and not is_row_gradient(rooms[path]):
                expected = f"accumulate(rows(tx, tables), every, rows={len(g.indices)}) makes room for them"
                raise ValueError(f"{leaf} a gradient of rows; {expected}")
            if is_row_gradient(rooms[path]) and len(getattr(g, "indices", g)) > (self.rows or 0):
                gradient = f"{len(g.indices)} rows" if is_row_gradient(g) else "a dense gradient"
                raise ValueError(f"{leaf} {gradient}, but there is room for {self.rows} rows")


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

    `update` and `oc.apply` take the extra arguments

    - `weight`, the weight w of this micro-batch: the number of its tokens, where the loss is a mean over tokens. A
      weight of 0 leaves a micro-batch out; a negative one does too.
    - `emit`, a bool that may be traced: step now, on the mean of what has been seen since the last step, as at the end
      of an epoch. With a weight of 0 and gradients of 0 that is a step without another micro-batch.

    Of those that `tx` reads, `value` (of a transformation of optax too), `validation` and `hessian` are averaged in the
    same way, over the micro-batches that give them; all others are forwarded, at a step those of its last micro-batch.
    What has no mean is refused: functions, and the `max_logits` of `clip_qk`.

    Through `oc.apply` a micro-batch costs a test of its gradients and the addition; `update` writes zeros besides.

    Metrics: `accumulate.micro`, `accumulate.emitted`, `accumulate.dropped`, `accumulate.every`.

    Shapes and dtypes: any; the running mean is like the parameters, in float32 or wider; so is that of a `hessian`,
    where something reads it.

    Raises:
        ValueError: `every` below 1; `rows` where nothing takes them; a technique that reads what has no mean, unless
            `every` is 1; while tracing, more look-ups than `rows`, gradients of single examples, or a function where a
            transformation of optax may call it.

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
    if not is_one(every):
        require_means("accumulate", tx)
    return transform(Accumulate(tx, every, rows))
