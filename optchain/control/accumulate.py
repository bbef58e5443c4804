"""Gradient accumulation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.numerics import all_finite, wide
from optchain.core.rule import Number, Range, checked
from optchain.core.transform import Transform, technique, transform
from optchain.core.wrapper import Take, Wrapper
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class Accumulate(Wrapper):
    """Averages micro-batches and steps on their mean.

    State: `micro`, micro-batches seen since the last step; `weight`, the total weight of those that are in `mean`;
    `emitted`, steps made; `dropped`, micro-batches refused; `mean`, a tree like the parameters.
    """

    every: Number

    def start(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("micro", "emitted", "dropped")}
        return counts | {"weight": jnp.zeros((), jnp.float32), "mean": jax.tree.map(jnp.zeros_like, params)}

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

        def add(mean: jax.Array, g: jax.Array) -> jax.Array:
            r = share.astype(mean.dtype)
            return jnp.where(counts, (1 - r) * mean + r * wide(g), mean)

        mean = jax.tree.map(add, state["mean"], updates)
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

    def _every(self, state: dict[str, Any]) -> jax.Array:
        every = self.every(state["emitted"]) if callable(self.every) else self.every
        return jnp.round(jnp.asarray(every, jnp.float32)).astype(jnp.int32)


@technique(tx=scale(-0.1), every=2)
def accumulate(tx: optax.GradientTransformation, every: Number) -> Transform:
    r"""Steps once every few micro-batches, on the mean of their gradients.

    .. math::
        \bar g = \frac{\sum_i w_i g_i}{\sum_i w_i}, \qquad u = \mathrm{tx}(\bar g)\ \text{at the last},\ 0\ \text{else}

    The wrapped transformation runs only when it steps; between steps its state rests and the update is zero. A
    micro-batch with a NaN or infinity is left out of the mean and counted; if all are, no step is made. For a model
    without batch statistics or dropout the step is that of one large batch.

    Args:
        tx: any transformation. Its schedules count the steps made, not the micro-batches.
        every: micro-batches for each step, at least 1, or a schedule of the steps made; rounded to a whole number.

    `update` and `oc.apply` take the extra argument `weight`, the weight w of this micro-batch: the number of its
    tokens, where the loss is a mean over tokens. All others are forwarded, at a step those of its last micro-batch.
    Through `oc.apply` a micro-batch costs a test of its gradients and the addition; `update` writes zeros besides.

    A weight of 0 leaves a micro-batch out; a negative one does too.

    Metrics: `accumulate.micro`, `accumulate.emitted`, `accumulate.dropped`, `accumulate.every`.

    Shapes and dtypes: any; the running mean is like the parameters, in float32 or wider.

    Raises:
        ValueError: `every` below 1.

    >>> import optchain as oc
    >>> tx = oc.accumulate(oc.adamw(1e-3), every=8)
    """
    every = checked("accumulate", "every", every, Range("[1, inf)"))
    return transform(Accumulate(tx, every))
