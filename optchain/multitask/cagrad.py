"""The mean gradient of several tasks, turned towards the task that it serves worst."""

from dataclasses import KW_ONLY
from typing import Annotated

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Range, Scalar, Static, whole
from optchain.core.numerics import quotient, sqrt
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks
from optchain.multitask.simplex import least


@rule
class CAGrad(CombinesTasks):
    r"""Takes the direction near the mean gradient of several tasks that lowers the loss falling slowest the most.

    .. math::
        u = g_0 + \frac{c \lVert g_0 \rVert}{\lVert g_w \rVert} g_w, \qquad
        g_0 = \frac{1}{K} \sum_{k=1}^{K} g_k, \quad g_w = \sum_{k=1}^{K} w_k g_k, \quad
        w = \arg\min_{w \ge 0,\, \sum_k w_k = 1} g_w \cdot g_0 + c \lVert g_0 \rVert \lVert g_w \rVert

    This u is the one that makes :math:`\min_k g_k \cdot u` largest within the distance :math:`c \lVert g_0 \rVert` of
    the mean. Norms and products are over all leaves together. It is the first link of a chain; the gradients have a
    leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        c: how far from the mean, in units of its norm, at least 0: 0 is the mean; below 1 it converges to a minimum of
            the mean loss, from 1 on to any Pareto stationary point.
        exchanges: how often weight is moved from one task to another to find w, at least 1; for two tasks one is exact,
            for K of them some multiples of K are.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which are multiplied by 1 + c. It reads the parameters' shapes: `update` without them is an error. No
    slots. Leaves outside of the mask are summed, and are no part of the norms: a mask of the shared parameters weighs
    these alone. Where :math:`g_w` is 0 the update is the mean. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: fewer than one exchange, `tasks` that is no number of at least 1 and no names, and while tracing,
            gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing; its authors' code divides the update by 1 + c or 1 + c^2, which here is a matter of
    the learning rate.

    References:
        Liu et al., 2021, Algorithm 1. https://arxiv.org/abs/2110.14048

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.cagrad(0.4), adam=oc.adam(1e-3))
    """

    c: Annotated[Scalar, Range("[0, inf)")] = 0.5
    exchanges: Static[int] = 50
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "cagrad")
        whole("cagrad", "exchanges", self.exchanges, 1)

    def weigh(self, agreement, s, t):
        products, _ = agreement.products()  # w is the same for gradients over any number
        mean = jnp.full_like(agreement.norms, 1 / agreement.size)
        slopes = products @ mean
        radius = self.c * sqrt(jnp.maximum(mean @ slopes, 0))
        w = least(products, slopes, radius, self.exchanges)
        return mean + quotient(radius, sqrt(jnp.maximum(w @ products @ w, 0))) * w, s


cagrad = lift(CAGrad, "cagrad", PerTask)
