"""The sum of the gradients of several tasks, or their mean."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks


@rule
class SumTasks(CombinesTasks):
    r"""Adds the gradients of several tasks, or averages them: the plain way, with which others are compared.

    .. math::
        u = \sum_{k=1}^{K} g_k \quad\text{or}\quad u = \frac{1}{K} \sum_{k=1}^{K} g_k

    It is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as those of
    `jax.jacrev(losses)`, where `losses` gives K numbers. The sum is the gradient of the sum of the losses, for which
    one backward pass suffices: this link is for what else is measured of the single gradients.

    Fields:
        average: divide by the number of tasks.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task. It reads the parameters' shapes: `update` without them is an error. No slots.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing.

    References:
        Kurin et al., 2022, "In Defense of the Unitary Scalarization for Deep Multi-Task Learning".
        https://arxiv.org/abs/2201.04122

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.sum_tasks(tasks=("depth", "normals")), adam=oc.adam(1e-3))
    """

    average: Static[bool] = False
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "sum_tasks")

    def weigh(self, agreement, s, t):
        return jnp.full_like(agreement.norms, 1 / agreement.size if self.average else 1), s


sum_tasks = lift(SumTasks, "sum_tasks", PerTask)
