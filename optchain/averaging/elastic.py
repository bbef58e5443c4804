"""Elastic averaging."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from optchain.averaging.workers import AmongWorkers, checked_axes
from optchain.core.branch import cond
from optchain.core.lift import technique
from optchain.core.numbers import Number, Range, at, checked, whole
from optchain.core.numerics import incremented
from optchain.core.routing import Given
from optchain.core.spread import bound
from optchain.core.transform import Transform, transform
from optchain.stepsize.scale import scale


@dataclasses.dataclass(frozen=True)
class ElasticAverage(AmongWorkers):
    """Ties the parameters of workers, which step by `inner`, to a center, and the center to their mean.

    State under its name: `count`, steps; `center`, a tree like the parameters, the same at all workers.
    """

    every: int
    moving_rate: Number
    workers: tuple[str, ...] = ()

    name = "elastic_average"
    needs_params = True

    def begin(self, params: Any) -> dict[str, Any]:
        # A copy of its own: a buffer shared with the parameter could not be donated together with it.
        center = jax.tree.map(jnp.copy, params)
        # Of workers that begin apart the mean.
        center = self.mean(center) if bound(self.workers) else center
        return {"count": jnp.zeros((), jnp.int32), "center": center}

    def shown(self, own: dict[str, Any]) -> dict[str, Any]:
        return {"count": own["count"]}

    def modify(self, updates: Any, state: Any, params: Any, routed: dict[str, Given]) -> tuple[Any, dict[str, Any]]:
        own = state[self.name]
        step = own["count"] if routed[""].step is None else routed[""].step
        new, inner = self.inner_step(updates, state, params, routed)
        rate = jnp.asarray(at(self.moving_rate, step), jnp.float32)
        share = rate / jax.lax.psum(1, self.workers) if self.workers else rate

        def met(center: Any) -> tuple[Any, Any]:
            way = jax.tree.map(jnp.subtract, params, center)
            tied = jax.tree.map(lambda u, x: u - share.astype(x.dtype) * x, new, way)
            return tied, jax.tree.map(lambda c, x: c + rate.astype(x.dtype) * x, center, self.mean(way))

        due = own["count"] % self.every == 0
        moved, center = cond(due, met, lambda center: (new, center), own["center"])
        return moved, {self.name: {"count": incremented(own["count"]), "center": center}, "inner": inner}


@technique(tx=scale(-0.1), every=2)
def elastic_average(
    tx: optax.GradientTransformation,
    every: int,
    moving_rate: Number = 0.9,
    axis: str | Sequence[str] | None = None,
) -> Transform:
    r"""Ties the parameters of workers, each of which steps by a transformation, to a center that follows their mean.

    .. math::
        \theta^i \leftarrow \theta^i + \mathrm{tx}(g^i) - \frac{\beta}{p} (\theta^i - \tilde\theta), \qquad
        \tilde\theta \leftarrow \tilde\theta + \beta \Bigl(\frac1p \sum_{i=1}^p \theta^i - \tilde\theta\Bigr)

    where the terms with :math:`\beta` are those of every k-th step, the first one included, and both are computed of
    the parameters before the step. At a meeting the workers are drawn together and not made equal, as those of
    `outer_nesterov` are: each goes on to explore from where it is.

    Along an `axis` of a mesh, inside `jax.shard_map`, each of the p devices is a worker i with parameters
    :math:`\theta^i` and gradients of its own. Nothing is sent but the mean at every k-th step. The center
    :math:`\tilde\theta`, which `averaged_params(state)` gives and which is to be evaluated, and the count are the same
    at all workers, `inner` and the metrics are each worker's. What stands around would decide for all workers by the
    gradients of one, and is refused if it looks across entries.

    Args:
        tx: any transformation, with its learning rate.
        every: k, steps from one meeting to the next, at least 1.
        moving_rate: :math:`\beta`, in [0, 1], or a schedule; 0.9 in the paper.
        axis: the name of a mesh axis, or several, along which each device is a worker; also the `axis_name` of
            `jax.vmap`. None is one worker.

    Metrics: `elastic_average.count`, steps.

    Shapes and dtypes: any; the slot `center` is like the parameter and begins as the mean of those of all workers, in
    float32 or wider.

    Differs from the paper: workers meet at the same step, as in its equations; those of its Algorithm 1 meet the center
    one after another.

    Raises:
        ValueError: a number out of its range, or an `axis` that is no name; at `update`, a call where no such axis is.

    References:
        Zhang et al., 2014, equations 5 and 6 (EASGD), every k steps as in Algorithm 1. https://arxiv.org/abs/1412.6651

    >>> import optchain as oc
    >>> tx = oc.elastic_average(oc.sgd(0.1), every=10, axis="worker")
    """
    workers = checked_axes("elastic_average", axis)
    whole("elastic_average", "every", every, 1)
    rate = checked("elastic_average", "moving_rate", moving_rate, Range("[0, 1]"))
    return transform(ElasticAverage(tx, every, rate, workers))
