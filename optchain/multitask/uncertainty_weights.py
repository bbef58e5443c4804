"""The gradients of several tasks, weighed by how uncertain each is."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Static
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks, each_task


class LogVariances(NamedTuple):
    """One number for each task."""

    log_variances: jax.Array


@rule
class UncertaintyWeights(CombinesTasks):
    r"""Adds the gradients of several tasks, each divided by the variance that is learned for its loss.

    .. math::
        u = \sum_{k=1}^{K} e^{-s_k} g_k, \qquad
        s_k \leftarrow s_k - \eta \left(\tfrac12 - e^{-s_k} L_k\right), \qquad s_k = \log \sigma_k^2

    Both are steps down :math:`\sum_k e^{-s_k} L_k + s_k / 2`. At its minimum a task has the weight
    :math:`1 / (2 L_k)`. u has the weights from before it. `update` and `oc.apply` take the extra argument `losses`, K
    numbers; with None the weights stay, and to give nothing is an error. It is the first link of a chain; the gradients
    have a leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        weight_rate: :math:`\eta`, the learning rate of the logarithms, at least 0.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are K logarithms. Leaves outside of the mask are summed. A loss that is not finite
    leaves its weight as it is; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, losses or gradients of
            another number of tasks.

    Differs from the paper: the logarithms follow by gradient descent with a rate of their own, where the paper's are
    parameters of the model. One form serves all losses: of a squared error take half of it as the loss. Where nothing
    else needs a gradient of each task, the same sum written as one loss costs one backward pass.

    References:
        Kendall et al., 2018, equations 7 and 10. https://arxiv.org/abs/1705.07115

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.uncertainty_weights(("depth", "normals")), adam=oc.adam(1e-3))
    """

    tasks: Static[Tasks]
    weight_rate: NonNegative = 0.01

    extras = ("losses",)
    example = {"tasks": 1}

    def __post_init__(self):
        checked_tasks(self, "uncertainty_weights", required=True)

    def init(self, params):
        return LogVariances(each_task(self.tasks, 0, params))

    def weigh(self, agreement, s, t, losses):
        weights = jnp.exp(-s.log_variances)
        if losses is None:
            return weights, s
        moved = s.log_variances - self.weight_rate * (0.5 - weights * losses.astype(weights.dtype))
        return weights, LogVariances(jnp.where(jnp.isfinite(moved), moved, s.log_variances))


uncertainty_weights = lift(UncertaintyWeights, "uncertainty_weights", PerTask)
