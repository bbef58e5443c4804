"""A guard against steps that would do harm."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.control.rejection import NONE, REASONS, first_spoiled
from optchain.core.branch import cond
from optchain.core.gate import Gate, Routed, Take
from optchain.core.lift import technique
from optchain.core.numbers import Range, checked, whole
from optchain.core.numerics import ema, global_norm, square, wide
from optchain.core.row_gradient import summed
from optchain.core.states import kept
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale

# The least deviation, as a share of the mean: where all samples are the same, rounding alone would make a spike.
FLOOR = 0.05


@dataclasses.dataclass(frozen=True)
class Guard(Gate):
    """Takes a step only if no check rejects it.

    State under its name: `accepted` and `rejected`, steps; `streak`, rejections in a row; of the last step `reason`, an
    index of `REASONS`, `leaf`, the index of the leaf that was not finite or -1, and `last_norm`; `norm` and `value`,
    running statistics `{"mean", "square", "count"}`; and, where it scales the loss, `loss_scale` and `grown`, steps
    since that changed.
    """

    check_outputs: bool
    max_norm: float | None
    max_value: float | None
    spike: float | None
    decay: float
    warmup: int
    patience: int
    loss_scale: float | None
    growth: int

    name = "guard"
    reads = ("value",)
    mixes = True
    on_shards = True

    def begin(self, params: Any) -> dict[str, Any]:
        own = {name: jnp.zeros((), jnp.int32) for name in ("accepted", "rejected", "streak", "reason")}
        own |= {"leaf": jnp.array(NONE, jnp.int32), "last_norm": jnp.zeros((), jnp.float32)}
        own |= {"norm": _statistics(), "value": _statistics()}
        if self.loss_scale is None:
            return own
        return own | {"loss_scale": jnp.array(self.loss_scale, jnp.float32), "grown": jnp.zeros((), jnp.int32)}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        counts = {name: own[name] for name in ("accepted", "rejected", "streak", "reason", "leaf")}
        counts |= {"norm": own["last_norm"], "exhausted": own["streak"] >= self.patience}
        return counts | ({} if self.loss_scale is None else {"loss_scale": own["loss_scale"]})

    def run(self, grads: Any, state: Any, params: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        own, given = state[self.name], routed[""].at(state[self.name]["accepted"])
        norm, value = self._unscaled(global_norm(summed(grads)), own), given.extra.get("value")
        if self.max_value is not None:
            value = given.asked("value", self.name)
        value = None if value is None else jnp.asarray(value, jnp.float32)

        def step(grads: Any, inner: Any) -> tuple[Any, Any]:
            # Divided here, where the step reads them, so that no second tree of gradients is stored.
            return take(jax.tree.map(lambda g: self._unscaled(g, own), grads), inner, given)

        output = self._spoiled_output(grads, state["inner"], step) if self.check_outputs else None
        reason = self._reason(norm, value, output, own)
        ok = reason == 0

        def accept(inner: Any) -> tuple[Any, Any, Any]:
            return *step(grads, inner), jnp.asarray(NONE, jnp.int32)

        def reject(inner: Any) -> tuple[Any, Any, Any]:
            # Only here, where the step is not made, are the gradients read once more.
            leaf = first_spoiled(grads)
            return nothing, inner, leaf if output is None else jnp.where(leaf == NONE, output, leaf)

        result, inner, leaf = cond(ok, accept, reject, state["inner"])
        after = {
            "accepted": own["accepted"] + ok.astype(jnp.int32),
            "rejected": own["rejected"] + (~ok).astype(jnp.int32),
            "streak": jnp.where(ok, 0, own["streak"] + 1),
            "reason": reason,
            "leaf": leaf,
            "norm": self._seen(norm, own["norm"]),
            "value": own["value"] if value is None else self._seen(value, own["value"]),
            "last_norm": norm.astype(jnp.float32),
        }
        return result, {self.name: after | self._scaled(jnp.isfinite(norm), own), "inner": inner}

    def _spoiled_output(self, grads: Any, inner: Any, step: Callable[[Any, Any], Any]) -> jax.Array:
        """Which leaf of the step would not be finite. It is computed once more within the `cond`, but never stored."""
        # Without the barrier XLA shares parts of the two steps and stores them; and on CPU it stores what a sum or a
        # maximum reads after a division, where for the logical or it stores one byte.
        grads, inner = jax.lax.optimization_barrier((grads, inner))
        return first_spoiled(step(grads, inner)[0], lambda x: jnp.any(~jnp.isfinite(x)))

    def _reason(self, norm: jax.Array, value: Any, output: Any, own: Any) -> jax.Array:
        """The index of the first reason to reject, or 0."""
        never = jnp.zeros((), bool)
        against = [
            ~jnp.isfinite(norm),
            never if value is None else ~jnp.isfinite(value),
            never if self.max_norm is None else norm > self.max_norm,
            never if value is None or self.max_value is None else value > self.max_value,
            self._is_spike(norm, own["norm"]),
            never if value is None else self._is_spike(value, own["value"]),
            never if output is None else output != NONE,
        ]
        return jnp.select(against, range(1, len(REASONS)), 0).astype(jnp.int32)

    def _limit(self, seen: dict[str, jax.Array]) -> jax.Array:
        """The value above which a sample is a spike; infinite while too few have been seen, or nothing but zeros."""
        if self.spike is None:
            return jnp.asarray(jnp.inf, jnp.float32)
        mean, variance = seen["mean"], jnp.maximum(seen["square"] - seen["mean"] ** 2, 0)
        deviation = jnp.maximum(jnp.sqrt(variance), FLOOR * jnp.abs(mean))
        known = (seen["count"] >= max(self.warmup, 1)) & (deviation > 0)
        return jnp.where(known, mean + self.spike * deviation, jnp.inf)

    def _is_spike(self, x: jax.Array, seen: dict[str, jax.Array]) -> jax.Array:
        return x > self._limit(seen)

    def _seen(self, x: jax.Array, seen: dict[str, jax.Array]) -> dict[str, jax.Array]:
        """The statistics after one more sample. A spike counts as the limit, so that a lasting change is followed."""
        x, finite, count = jnp.minimum(x, self._limit(seen)).astype(jnp.float32), jnp.isfinite(x), seen["count"]
        b = jnp.minimum(self.decay, (count / (count + 1)).astype(jnp.float32))  # a plain mean at first
        new = {"mean": ema(x, seen["mean"], b), "square": ema(square(x), seen["square"], b), "count": count + 1}
        return jax.tree.map(lambda new, old: jnp.where(finite, new, old), new, seen)

    def _unscaled(self, x: jax.Array, own: Any) -> jax.Array:
        """The array in float32 or wider, without the scale of the loss; the numbers of rows have none."""
        if self.loss_scale is None or jnp.issubdtype(x.dtype, jnp.integer):
            return x
        return wide(x) / own["loss_scale"].astype(wide(x).dtype)

    def _scaled(self, finite: jax.Array, own: Any) -> dict[str, jax.Array]:
        """The loss scale: halved after an overflow, doubled after `growth` steps without one."""
        if self.loss_scale is None:
            return {}
        scale, grown = own["loss_scale"], jnp.where(finite, own["grown"] + 1, 0)
        doubles = grown >= self.growth
        scale = jnp.where(finite, jnp.where(doubles, 2 * scale, scale), jnp.maximum(scale / 2, 1.0))
        return {"loss_scale": scale, "grown": jnp.where(doubles, 0, grown)}


def _statistics() -> dict[str, jax.Array]:
    return {"mean": jnp.zeros((), jnp.float32), "square": jnp.zeros((), jnp.float32), "count": jnp.zeros((), jnp.int32)}


@technique(tx=scale(-0.1))
def guard(
    tx: optax.GradientTransformation,
    check_outputs: bool = False,
    max_norm: float | None = None,
    max_value: float | None = None,
    spike: float | None = None,
    decay: float = 0.99,
    warmup: int = 100,
    patience: int = 10,
    loss_scale: float | None = None,
    growth: int = 2000,
) -> Transform:
    r"""Rejects a step whose gradients are not finite, or are a spike: zero update, the state restored bit for bit.

    A sample x (the norm of all gradients, or the extra argument `value`) is a spike where

    .. math::
        x > m + k \sigma, \qquad \sigma = \max(\sqrt{q - m^2}, 0.05 |m|), \qquad
        m \leftarrow b m + (1 - b) x', \quad q \leftarrow b q + (1 - b) x'^2, \quad x' = \min(x, m + k \sigma)

    Non-finite samples never enter the running mean m and mean square q. A spike enters as the limit x', so that a
    change that lasts is followed. Where all samples were zero there is no limit.

    Args:
        tx: any transformation. Its schedules count the accepted steps.
        check_outputs: also reject where the new updates or parameters are not finite; the step is computed twice,
            about 2 times the time of an elementwise rule.
        max_norm: reject where the gradients' norm is above this.
        max_value: reject where `value` is above this.
        spike: k, in standard deviations, > 0; None for no test of spikes.
        decay: b, in [0, 1); during the first samples a plain mean.
        warmup: samples before the test of spikes begins, at least 0.
        patience: rejections in a row from which on the metric `guard.exhausted` is 1, for a trainer to stop or reload.
        loss_scale: where the loss is multiplied by `loss_scale(state)` before differentiation (float16), its first
            value: gradients are divided by it, it halves when they overflow (to 1 at least) and doubles after `growth`
            good steps. An accumulation then stands within: `guard(accumulate(tx, 8), loss_scale=2.0**15)`.
        growth: steps without overflow after which the loss scale doubles.

    `update` and `oc.apply` take the extra argument `value`, the loss; it is checked too, and forwarded as all others.
    With `max_value` it must be given, None in a step that has none.
    Through `oc.apply` the parameters stand within the same `cond`, and a rejected step touches nothing.

    Metrics: `guard.accepted`, `guard.rejected`, `guard.streak`, `guard.reason` (an index of `REASONS`), `guard.leaf`
    (that of the first leaf with a NaN or an infinity, in the gradients or else in the output, among all leaves of the
    parameters, or -1), `guard.norm`, `guard.exhausted`, and `guard.loss_scale` where there is one.
    `rejection(state, params)` says the reason and the leaf in words.

    Raises:
        ValueError: a number out of its range.

    References:
        Loss scaling: Micikevicius et al., 2017, section 3.2. https://arxiv.org/abs/1710.03740

    >>> import optchain as oc
    >>> tx = oc.guard(oc.adamw(1e-3), spike=6.0)
    """
    limits = {"max_norm": max_norm, "max_value": max_value, "spike": spike, "loss_scale": loss_scale}
    given = {name: checked("guard", name, x, Range("(0, inf)")) for name, x in limits.items() if x is not None}
    decay = checked("guard", "decay", decay, Range("[0, 1)"))
    for name, x, least in (("warmup", warmup, 0), ("patience", patience, 1), ("growth", growth, 1)):
        whole("guard", name, x, least)
    none = dict.fromkeys(limits)
    rest = {"decay": decay, "warmup": warmup, "patience": patience, "growth": growth}
    return transform(Guard(tx, check_outputs=check_outputs, **none | given, **rest))


def loss_scale(state: Any) -> jax.Array:
    """The factor to multiply the loss with before differentiation, from an optimizer state with a guard that scales it.

    Args:
        state: of a transformation with one such guard in it.

    Raises:
        ValueError: no guard in the state scales the loss, or more than one does.
    """
    scales = [own["loss_scale"] for own in kept(state, Guard.name) if "loss_scale" in own]
    if len(scales) != 1:
        expected = "expected one, as of guard(tx, loss_scale=2.0**15)"
        raise ValueError(f"{len(scales)} guards in the state scale the loss; {expected}")
    return scales[0]
