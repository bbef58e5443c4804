"""Stale gradients, as asynchronous workers make them."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.core.boxes import named, put_as
from optchain.core.branch import cond
from optchain.core.gate import Gate, Routed, Take
from optchain.core.lift import technique
from optchain.core.numbers import SEED, Seed, checked, whole
from optchain.core.numerics import incremented
from optchain.core.transform import Transform, transform
from optchain.core.walk import readers
from optchain.embeddings.rows import row_tables
from optchain.stepsize.scale import scale
from optchain.storage.rounding import random_bits

# Functions that are evaluated at the parameters of this step, where the gradient of an earlier one has not been.
FUNCTIONS = ("grad_fn", "value_fn")


@dataclasses.dataclass(frozen=True)
class Delayed(Gate):
    """Hands `inner` the gradients of earlier steps.

    State under its name: `count`, steps seen; `taken`, steps that `inner` has made; `waited`, those at which nothing
    had arrived; `staleness`, the delay of the last step; and where there is a delay the last steps in rings, trees like
    the parameters with an axis for the steps in front: `gradients`, and `params` where something in `inner` reads
    `stale_params`.
    """

    delays: tuple[int, ...]
    uniform: bool
    seed: Seed

    name = "delayed"
    gives = ("staleness", "stale_params")

    @property
    def keeps_params(self) -> bool:
        """Whether something in `inner` reads the parameters that a gradient was computed at."""
        return bool(readers(self.inner, "stale_params"))

    @property
    def rings(self) -> tuple[str, ...]:
        """What is kept of the last steps."""
        kept = ("gradients", "params") if self.keeps_params else ("gradients",)
        return kept if max(self.delays) else ()

    @property
    def room(self) -> int:
        """How many steps a ring holds: this one, and as many as the largest delay."""
        return 1 + max(self.delays)

    def takes(self) -> frozenset[str]:
        return frozenset()  # what is kept is like the parameters

    def begin(self, params: Any) -> dict[str, Any]:
        counts = {name: jnp.zeros((), jnp.int32) for name in ("count", "taken", "waited", "staleness")}
        # Broadcast, so that it has the layout of the parameter.
        ring = jax.tree.map(lambda p: jnp.broadcast_to(jnp.zeros_like(p), (self.room, *p.shape)), params)
        ring = named(ring, params, lambda p: (None, *range(p.ndim)))
        return counts | {name: jax.tree.map(jnp.copy, ring) for name in self.rings}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {name: own[name] for name in ("staleness", "taken", "waited")}

    def run(self, grads: Any, state: Any, params: Any, routed: Routed, nothing: Any, take: Take) -> tuple[Any, Any]:
        own, count = state[self.name], state[self.name]["count"]
        if self.keeps_params:
            self.require_params(params)
        delay = self._delay(count)
        given = routed[""].at(own["taken"]).with_extra(staleness=delay)
        now = {"gradients": grads, "params": params}
        # Written before they are read: XLA copies a ring whole that is written after.
        rings = {name: self._written(own[name], now[name], count) for name in self.rings}

        def step(inner: Any) -> tuple[Any, Any]:
            stale = now | {name: self._read(rings[name], now[name], count - delay) for name in self.rings}
            told = given.with_extra(stale_params=stale["params"]) if self.keeps_params else given
            return take(stale["gradients"], inner, told)

        arrived = count >= delay
        if self.rings:
            result, inner = cond(arrived, step, lambda inner: (nothing, inner), state["inner"])
        else:  # bit for bit `inner`, which XLA may fuse with what stands around
            result, inner = step(state["inner"])
        after = {
            "count": incremented(count),
            "taken": own["taken"] + arrived.astype(jnp.int32),
            "waited": own["waited"] + (~arrived).astype(jnp.int32),
            "staleness": delay,
        }
        return result, {self.name: after | rings, "inner": inner}

    def _delay(self, count: jax.Array) -> jax.Array:
        """The delay of this step."""
        most = jnp.asarray(self.delays, jnp.int32)[count % len(self.delays)]
        if not self.uniform:
            return most
        bits = random_bits((), self.seed, count, self.name)
        return (bits % (most + 1).astype(jnp.uint32)).astype(jnp.int32)

    def _written(self, ring: Any, now: Any, count: jax.Array) -> Any:
        """A ring in which this step replaces the oldest one."""

        def write(ring: jax.Array, x: jax.Array) -> jax.Array:
            return jax.lax.dynamic_update_index_in_dim(ring, x.astype(ring.dtype), count % self.room, 0)

        return jax.tree.map(write, ring, put_as(ring, now, now))

    def _read(self, ring: Any, now: Any, count: jax.Array) -> Any:
        """What an earlier step wrote into a ring, in the boxes of what this one does."""
        read = lambda x: jax.lax.dynamic_index_in_dim(x, count % self.room, keepdims=False)  # noqa: E731
        return put_as(now, jax.tree.map(read, ring), now)


@technique(tx=scale(-0.1), delay=2)
def delayed(
    tx: optax.GradientTransformation, delay: int | Sequence[int], uniform: bool = False, seed: Seed = 0
) -> Transform:
    r"""Gives a transformation the gradients of earlier steps, as asynchronous workers would: a simulator of staleness.

    .. math::
        \theta_{t+1} = \theta_t + \mathrm{tx}(g_{t - \tau_t}), \qquad g_t = \nabla L(\theta_t)

    The gradient of a step goes into a ring in the state, and `tx` receives the one that was computed
    :math:`\tau_t` steps ago, at the parameters and on the batch of that step. The delays are

    - constant, with one number;
    - by worker, with several: step t is that of worker t mod n, whose gradients are as old as its delay;
    - random, with `uniform`: drawn at each step from 0 to that number, each with the same probability. A gradient may
      then be taken twice, or never.

    While :math:`t < \tau_t`, nothing has arrived: the update is zero, and the state of `tx` stays as it is. Counts and
    schedules within `tx` are of the steps that it has taken. With a delay of 0 it is `tx`, and keeps nothing.

    What the links of `tx` receive besides: `staleness`, the delay of this step, for `scale_by_staleness`, and
    `stale_params`, the parameters that the gradient was computed at, for `compensate_delay`; these are kept in a second
    ring where something in `tx` reads them. All other extra arguments are those of this step.

    Args:
        tx: any transformation. What computes a second gradient, such as `sam`, stands around: `sam(delayed(tx, 4))`.
        delay: :math:`\tau`, in steps, at least 0; a whole number, or one for each worker.
        uniform: draw the delay of each step from 0 to `delay`.
        seed: of the delays that are drawn, a whole number or a key of `jax.random`, which may be traced: each member of
            a vmapped ensemble draws its own from its own seed. They are a function of the seed and the step.

    Metrics: `delayed.staleness`, the delay of the last step; `delayed.taken`, steps of `tx`; `delayed.waited`, steps at
    which nothing had arrived.

    Shapes and dtypes: any; a ring is like the parameters, in float32 or wider, with an axis in front, which is
    longer by one than the largest delay. A step writes one entry of it and reads one, in place where the buffers are
    donated.

    Differs from the paper: there workers run at the same time, and how stale a gradient is follows from their speed;
    here it is said or drawn, and a run is a function of its seed. One step sees one gradient, whole: not, as there,
    some entries of it sooner than others.

    Raises:
        ValueError: a delay that is not a whole number of at least 0, or no delay; a `tx` that takes gradients of rows,
            or reads `grad_fn` or `value_fn`.

    References:
        Niu et al., 2011, Algorithm 1 and equation 2.4 (Hogwild). https://arxiv.org/abs/1106.5730

    >>> import optchain as oc
    >>> tx = oc.delayed(oc.sgd(0.1), 4)
    >>> tx = oc.delayed(oc.chain(oc.compensate_delay(0.04), oc.sgd(0.1)), [1, 2, 8], uniform=True)
    """
    delays: tuple[Any, ...] = tuple(delay) if isinstance(delay, (list, tuple)) else (delay,)
    if not delays:
        raise ValueError("delayed: delay must be a whole number, or one for each worker, got none")
    for steps in delays:
        whole("delayed", "delay", steps, 0)
    checked("delayed", "uniform", uniform, bool)
    checked("delayed", "seed", seed, SEED)
    if row_tables(tx):
        problem = "tx takes gradients of rows, and each step has other rows, for which no ring has places"
        raise ValueError(f"delayed: {problem}; leave out rows, and give the dense gradients of tables")
    for name in FUNCTIONS:
        for reader in readers(tx, name):
            problem = f"{reader} within it reads `{name}`, which would be of this step, while the gradient is not"
            raise ValueError(f"delayed: {problem}; let it stand around: {reader}(delayed(tx, ...))")
    return transform(Delayed(tx, delays, uniform, seed))
