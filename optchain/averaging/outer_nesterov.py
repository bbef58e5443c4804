"""An outer optimizer with Nesterov momentum."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import optax

from optchain.averaging.lookahead import Lookahead
from optchain.averaging.workers import AmongWorkers, checked_axes
from optchain.core.chain import chain
from optchain.core.lift import technique
from optchain.core.numbers import Number, whole
from optchain.core.spread import bound
from optchain.core.transform import Transform, start, transform
from optchain.moments.momentum import trace
from optchain.stepsize.learning_rate import scale_by_learning_rate
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class OuterNesterov(AmongWorkers, Lookahead):
    """Lookahead whose slow weights, here `outer`, move with momentum, along the mean way of all workers.

    Along the mesh axes `workers` devices have copies of the parameters, which differ between outer steps.
    """

    workers: tuple[str, ...] = ()

    name = "outer_nesterov"
    slot = "outer"

    def begin(self, params: Any) -> dict[str, Any]:
        own = super().begin(params)
        # Of workers that begin apart the mean: the outer weights are the same at all of them.
        return own | {self.slot: self.mean(own[self.slot])} if bound(self.workers) else own

    def way(self, slow: Any, fast: Any) -> Any:
        return self.mean(super().way(slow, fast))

    def start(self, params: Any) -> dict[str, Any]:
        state = super().start(params)
        # The momentum is that of the outer weights, the same at all workers.
        return state | {"others": {self.slot: start(self.outer, state[self.name][self.slot])}}


@technique(tx=scale(-0.1), every=2)
def outer_nesterov(
    tx: optax.GradientTransformation,
    every: int,
    momentum: Number = 0.9,
    learning_rate: Number = 0.7,
    axis: str | Sequence[str] | None = None,
) -> Transform:
    r"""Lets a transformation run for some steps, takes the way back as a gradient, and steps by Nesterov's momentum.

    .. math::
        \theta \leftarrow \theta + \mathrm{tx}(g), \qquad
        \Delta = \phi - \theta, \; v \leftarrow \mu v + \Delta, \; \phi \leftarrow \phi - \eta (\Delta + \mu v), \;
        \theta \leftarrow \phi \quad\text{every } k \text{ steps}

    The parameters are :math:`\theta`; `averaged_params(state)` gives :math:`\phi`. Without momentum and with a rate
    below 1 it is `lookahead`.

    With an `axis` it is DiLoCo: along this axis of a mesh, inside `jax.shard_map`, each device is a worker that steps
    parameters of its own on gradients of its own, and :math:`\Delta` is the mean over the workers. They meet in this
    one mean every k steps, and leave with the same parameters. What `tx` computes across a parameter it computes of the
    worker's own; what stands around would decide for all workers by the gradients of one, and is refused if it looks
    across entries. The outer weights, their momentum and the count are the same at all workers, `inner` and the metrics
    are each worker's.

    Args:
        tx: any transformation, with its learning rate.
        every: k, steps of `tx` for each outer one, at least 1; 500 in the paper.
        momentum: :math:`\mu`, in [0, 1); the number `outer.momentum.decay`.
        learning_rate: :math:`\eta`, or a schedule of the outer steps; the number `outer.lr.learning_rate`.
        axis: the name of a mesh axis, or several, along which each device is a worker; also the `axis_name` of
            `jax.vmap`. None is one worker.

    Metrics: `outer_nesterov.count`, steps since the last outer one, and those of the outer chain.

    Shapes and dtypes: any; the outer parameters and their momentum are like the parameter, in float32 or wider.

    Differs from the paper: nothing.

    Raises:
        ValueError: a number out of its range, or an `axis` that is no name; at `update`, a call where no such axis is.

    References:
        Douillard et al., 2023, Algorithm 1 (DiLoCo). https://arxiv.org/abs/2311.08105

    >>> import optchain as oc
    >>> tx = oc.outer_nesterov(oc.adamw(1e-3), every=50)
    >>> tx = oc.outer_nesterov(oc.adamw(1e-3), every=500, axis="worker")
    """
    workers = checked_axes("outer_nesterov", axis)
    whole("outer_nesterov", "every", every, 1)
    outer = chain(momentum=trace(momentum, nesterov=True), lr=scale_by_learning_rate(learning_rate))
    return transform(OuterNesterov(tx, every, outer, workers=workers))
