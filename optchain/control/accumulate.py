"""Gradient accumulation."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.control.apart import Means, added, closed, first, opened, require_apart
from optchain.control.extra_means import (
    begun_again,
    no_means,
    require_means,
    require_no_functions,
    with_means,
    with_sample,
)
from optchain.control.micro_batches import is_full, is_one, micro_batches
from optchain.control.row_means import filled, nothing_like, require_room, with_rows
from optchain.core.branch import cond
from optchain.core.door import AXES
from optchain.core.gate import Gate, Routed, Take
from optchain.core.holes import is_hole, part
from optchain.core.lift import technique
from optchain.core.mask import select
from optchain.core.numbers import Number, Range, checked, whole
from optchain.core.numerics import all_finite, incremented, wide
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

    Along the mesh axes `over` each device has a weight, a mean and extras of its own, and `lost`, of the micro-batches
    since the last step those refused; all of these begin with an axis of devices.
    """

    every: Number
    rows: int | None
    over: tuple[str, ...] = ()

    name = "accumulate"
    reads = ("weight", "emit")
    mixes = True
    on_shards = True

    @property
    def collects(self) -> tuple[str, ...]:  # pyright: ignore
        return self.over

    def takes(self) -> frozenset[str]:
        # The mean of the i-th examples of all micro-batches is no example, and to clip it protects none; of tasks it
        # would be one, but the mean that is kept is like the parameters.
        return super().takes() - AXES

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("micro", "emitted", "dropped")}
        mean = jax.tree.map(jnp.zeros_like, params)
        if self.rows is not None and isinstance(self.every, float):
            room = round(self.every) * self.rows
            tables = part(params, select(row_tables(self.inner), params))
            mean = jax.tree.map(lambda x, p: x if is_hole(p) else RowGradient.none(p, room), mean, tables)
        own = {"weight": jnp.zeros((), jnp.float32), "mean": mean, "extras": no_means(self.inner, params)}
        return counts | (first(own | {"lost": jnp.zeros((), jnp.int32)}, self.over) if self.over else own)

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {name: own[name] for name in ("micro", "emitted", "dropped")} | {
            "every": micro_batches(self.every, own["emitted"])
        }

    def run(self, grads: Any, state: Any, params: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        own, given = state[self.name], routed[""]
        own = opened(own) if self.over else own
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
            return with_rows(mean, g, r, counts, own["micro"], self.rows or 0)

        require_room(self.name, grads, own["mean"], self.rows)
        if not is_one(self.every):
            require_no_functions(self.name, self.inner, given.extra)
        mean = jax.tree.map(add, own["mean"], grads, is_leaf=is_row_gradient)
        nothing = jax.tree.map(nothing_like, nothing, mean, is_leaf=is_row_gradient)
        micro = incremented(own["micro"])
        full = is_full(self.every, own["emitted"], micro, given.extra)
        extras = with_sample(self.name, own["extras"], given.extra, weight, counts)
        seen = given.at(own["emitted"])
        lost = (~finite).astype(jnp.int32)

        def emit(means: Means, inner: Any) -> tuple[Any, Any]:
            told = seen.with_extra(weight=means.weight) if readers(self.inner, "weight") else seen
            if self.over:  # of this device alone is what its last micro-batch gave
                of_all = {name: x["mean"] for name, x in means.extras.items() if told.extra.get(name) is not None}
                told = told.with_extra(**of_all)
            grads = jax.tree.map(lambda x: filled(x, micro, self.rows), means.mean, is_leaf=is_row_gradient)
            return with_means(self.name, means.extras, told, lambda given: take(grads, inner, given))

        def rest(inner: Any) -> tuple[Any, Any]:
            return nothing, inner

        here = Means(weights, mean, extras, own["lost"] + lost if self.over else lost)
        if self.over:
            require_apart(self.name, grads, full, self.over)
            result, inner, emits, lost = self._together(full, here, emit, rest, state["inner"])
        else:
            emits = full & (weights > 0)
            result, inner = cond(emits, partial(emit, here), rest, state["inner"])
        after = {
            "micro": jnp.where(full, 0, micro),
            "emitted": own["emitted"] + emits.astype(jnp.int32),
            "dropped": own["dropped"] + lost,
            "weight": jnp.where(full, 0, weights),
            "mean": mean,
            "extras": begun_again(extras, full),
        }
        if self.over:
            after = closed(after | {"lost": jnp.where(full, 0, here.lost)})
        return result, {self.name: after, "inner": inner}

    def _together(self, full: jax.Array, here: Means, emit: Any, rest: Any, inner: Any) -> tuple[Any, ...]:
        """A step of all devices, which add their means where the last micro-batch is seen, and send nothing else."""

        def meet(inner: Any) -> tuple[Any, ...]:
            means = added(here, self.over)
            emits = means.weight > 0
            return (*cond(emits, partial(emit, means), rest, inner), emits, means.lost)

        def wait(inner: Any) -> tuple[Any, ...]:
            return (*rest(inner), jnp.zeros((), bool), jnp.zeros((), jnp.int32))

        return cond(full, meet, wait, inner)


@technique(tx=scale(-0.1), every=2)
def accumulate(
    tx: optax.GradientTransformation, every: Number, rows: int | None = None, over: str | Sequence[str] | None = None
) -> Transform:
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
        over: the name of a mesh axis, or several, along which each device has gradients of its own.

    `update` and `oc.apply` take the extra arguments

    - `weight`, the weight w of this micro-batch: the number of its tokens, where the loss is a mean over tokens. A
      weight of 0 leaves a micro-batch out; a negative one does too.
    - `emit`, a bool that may be traced: step now, on the mean of what has been seen since the last step, as at the end
      of an epoch. With a weight of 0 and gradients of 0 that is a step without another micro-batch.

    Of those that `tx` reads, `value` (of a transformation of optax too), `validation` and `hessian` are averaged in the
    same way, over the micro-batches that give them; all others are forwarded, at a step those of its last micro-batch.
    What has no mean is refused: functions, and the `max_logits` of `clip_qk`.

    Through `oc.apply` a micro-batch costs a test of its gradients and the addition; `update` writes zeros besides.

    On a mesh, gradients of a micro-batch that is spread over devices are summed over these before they come here: one
    reduction for each micro-batch. With `over`, inside `jax.shard_map`, each device adds the gradients of its own parts
    instead, and nothing is sent until the step, which begins with one reduction of each gradient and of the weights:

        def micro(carry, x):  # x: this device's part of a micro-batch
            params, state = carry
            grads = jax.grad(loss)(jax.lax.pcast(params, "data", to="varying"), x)  # else JAX would reduce them
            return oc.apply(tx, grads, state, params), None

    Each part counts as a micro-batch: it has a `weight` of its own, and is left out by itself if it is not finite.
    `tx` and the parameters are the same on all devices. Begin inside `shard_map` too, with the specs that
    `oc.state_specs(tx, params, specs)` gives; outside of it, one device accumulates alone.

    Metrics: `accumulate.micro`, `accumulate.emitted`, `accumulate.dropped`, `accumulate.every`.

    Shapes and dtypes: any; the running mean is like the parameters, in float32 or wider; so is that of a `hessian`,
    where something reads it. With `over` these have an axis of devices in front, of which each device has one.

    Raises:
        ValueError: `every` below 1; `rows` where nothing takes them, or with `over`; a technique that reads what has no
            mean, unless `every` is 1; while tracing, more look-ups than `rows`, gradients of single examples, a
            function where a transformation of optax may call it, or with `over` gradients that are reduced already.

    >>> import optchain as oc
    >>> tx = oc.accumulate(oc.adamw(1e-3), every=8)
    """
    every = checked("accumulate", "every", every, Range("[1, inf)"))
    axes = (over,) if isinstance(over, str) else tuple(over) if isinstance(over, (list, tuple)) else ()
    wrong = not axes or not all(isinstance(name, str) for name in axes) or len(set(axes)) < len(axes)
    if over is not None and wrong:
        raise ValueError(f"accumulate: over must be the name of a mesh axis, or several that differ; got {over!r}")
    if rows is not None:
        if axes:
            raise ValueError("accumulate: gradients of rows cannot be kept by device; leave out rows or over")
        whole("accumulate", "rows", rows, 1)
        if not isinstance(every, float):
            raise ValueError(f"accumulate: every must be a constant where rows are accumulated, got {every!r}")
        if not row_tables(tx):
            raise ValueError(f"accumulate: rows are for the gradients of rows(tx, tables), which is not in {tx!r}")
    if not is_one(every):
        require_means("accumulate", tx)
    return transform(Accumulate(tx, every, rows, axes))
