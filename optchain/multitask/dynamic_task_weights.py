"""The gradients of several tasks, weighed by how fast the loss of each falls."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Positive, Static, whole
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks, each_task


class Periods(NamedTuple):
    """Mean losses of periods, one number for each task, and counts."""

    total: jax.Array  # of the losses of this period
    last: jax.Array  # the means of the last whole period
    before: jax.Array  # those of the one before
    counted: jax.Array  # losses of this period, a scalar
    periods: jax.Array  # that are whole, a scalar; at most 2 are told apart


@rule
class DynamicTaskWeights(CombinesTasks):
    r"""Adds the gradients of several tasks with larger weights for those whose losses fall slower (DWA).

    .. math::
        u = \sum_{k=1}^{K} \lambda_k g_k, \qquad
        \lambda_k = K \frac{e^{r_k / T}}{\sum_j e^{r_j / T}}, \qquad
        r_k = \frac{\bar L_k^{(n-1)}}{\bar L_k^{(n-2)}}

    where :math:`\bar L_k^{(n)}` is the mean loss over the n-th period of some updates, such as an epoch. The ratios are
    1 until two periods are whole. `update` and `oc.apply` take the extra argument `losses`, K numbers; a step with None
    is no part of any period, and to give nothing is an error. It is the first link of a chain; the gradients have a
    leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        every: updates in a period, at least 1; the paper's is an epoch.
        temperature: T, > 0: the larger, the more equal the weights.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are three times K numbers and two counts. Leaves outside of the mask are summed. Losses
    that are not finite are no part of any period; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `every` below 1, `tasks` that is no number of at least 1 and no names, and while tracing, losses or
            gradients of another number of tasks.

    Differs from the paper: nothing. Where nothing else needs a gradient of each task, weights of a sum of losses that
    the caller changes once an epoch cost one backward pass.

    References:
        Liu et al., 2019, equation 7. https://arxiv.org/abs/1803.10704

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.dynamic_task_weights(2, every=100), adam=oc.adam(1e-3))
    """

    tasks: Static[Tasks]
    every: Static[int]
    temperature: Positive = 2.0

    extras = ("losses",)
    example = {"tasks": 1, "every": 1}

    def __post_init__(self):
        checked_tasks(self, "dynamic_task_weights", required=True)
        whole("dynamic_task_weights", "every", self.every, 1)

    def init(self, params):
        total, last, before = (each_task(self.tasks, 0, params) for _ in range(3))  # each a buffer of its own
        return Periods(total, last, before, jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))

    def weigh(self, agreement, s, t, losses):
        ratio = jnp.where(s.periods < 2, 1, quotient(s.last, s.before))
        weights = agreement.size * jax.nn.softmax(ratio / self.temperature)
        if losses is None:
            return weights, s
        usual = jnp.isfinite(losses).all()
        total = s.total + jnp.where(usual, losses.astype(s.total.dtype), 0)
        counted = s.counted + usual.astype(jnp.int32)
        whole_one = counted >= self.every
        return weights, Periods(
            jnp.where(whole_one, 0, total),
            jnp.where(whole_one, total / self.every, s.last),
            jnp.where(whole_one, s.last, s.before),
            jnp.where(whole_one, 0, counted),
            jnp.minimum(s.periods + whole_one.astype(jnp.int32), 2),
        )


dynamic_task_weights = lift(DynamicTaskWeights, "dynamic_task_weights", PerTask)
