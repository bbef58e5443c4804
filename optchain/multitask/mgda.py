"""The shortest combination of the gradients of several tasks."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Static, whole
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks
from optchain.multitask.simplex import least


@rule
class MGDA(CombinesTasks):
    r"""Takes the shortest of all weighted means of the gradients of several tasks, along which no loss rises.

    .. math::
        u = \sum_{k=1}^{K} \alpha_k g_k, \qquad
        \alpha = \arg\min_{\alpha \ge 0,\, \sum_k \alpha_k = 1} \Bigl\lVert \sum_{k=1}^{K} \alpha_k g_k \Bigr\rVert^2

    The norm is over all leaves together. The inner product of u with each gradient is at least its own square, so that
    a small step along it lowers every loss; where there is no such direction, at a Pareto stationary point, u is 0. It
    is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as those of
    `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        normalize: "none", or "norm": the weights are those of gradients of norm 1, divided by the norms, and scaled so
            that they sum to 1. Without it the task of the smallest gradient has the largest weight.
        exchanges: how often weight is moved from one task to another to find the least norm, at least 1; for two tasks
            one is exact, for K of them some multiples of K are.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed, and are no part of the norm: a mask of the shared parameters weighs these alone. A
    NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: another `normalize`, fewer than one exchange, `tasks` that is no number of at least 1 and no names,
            and while tracing, gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: Frank and Wolfe's algorithm, which moves weight to one task from all others in proportion
    and converges slowly, is replaced by exchanges between two tasks; both end at the same point. The upper bound by
    gradients of a shared representation (MGDA-UB) is the caller's choice of gradients.

    References:
        Sener and Koltun, 2018, equation 3 and Algorithm 2. https://arxiv.org/abs/1810.04650

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.mgda(), lr=oc.scale_by_learning_rate(0.1))
    """

    normalize: Static[str] = "none"
    exchanges: Static[int] = 50
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "mgda")
        whole("mgda", "exchanges", self.exchanges, 1)
        if self.normalize not in ("none", "norm"):
            raise ValueError(f"mgda: normalize must be 'none' or 'norm', got {self.normalize!r}")

    def weigh(self, agreement, s, t):
        none = jnp.zeros_like(agreement.norms)
        if self.normalize == "none":
            return least(agreement.products()[0], none, 1.0, self.exchanges), s
        _, largest = agreement.products()
        inverse = quotient(largest, agreement.norms) * least(agreement.cosines, none, 1.0, self.exchanges)
        return quotient(inverse, inverse.sum()), s


mgda = lift(MGDA, "mgda", PerTask)
