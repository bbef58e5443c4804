"""The gradients of several tasks, weighed by what these would agree on if they bargained."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Static, whole
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks


@rule
class NashMTL(CombinesTasks):
    r"""Adds the gradients of several tasks with the weights of a Nash bargain, indifferent to the scale of any loss.

    .. math::
        u = \sum_{k=1}^{K} \alpha_k g_k, \qquad G \alpha = 1 / \alpha, \quad \alpha > 0, \qquad
        G_{ij} = g_i \cdot g_j

    This u makes :math:`\sum_k \log(g_k \cdot u)` largest among the directions of its length. Products are over all
    leaves together. A loss that is multiplied by a number leaves u as it is. Its norm is :math:`\sqrt K` wherever it
    is computed: learning rates have to fall, or an adaptive method has to follow. It is the first link of a chain; the
    gradients have a leading axis for the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K
    numbers.

    Fields:
        ridge: what is added to each :math:`G_{kk}`, in units of itself, at least 0: it bounds the weights of gradients
            that point against each other, of which no direction serves both.
        iterations: steps of Newton's method, at least 1.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which are divided by their norm. It reads the parameters' shapes: `update` without them is an error. No
    slots. Leaves outside of the mask are summed, and are no part of the products: a mask of the shared parameters
    weighs these alone. A gradient of zeros has the weight 0. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: a `ridge` below 0, fewer than one iteration, `tasks` that is no number of at least 1 and no names,
            and while tracing, gradients of another number of tasks, or of different numbers in the leaves.

    Differs from the paper: the solution is that of a convex problem, the least of :math:`\alpha^\top G \alpha / 2 -
    \sum_k \log \alpha_k`, which damped Newton steps find; the paper approximates it by a sequence of others. It is
    found at every update, where the paper's faster variants keep the weights for several. `ridge` is new.

    References:
        Navon et al., 2022, Claim 3.1 and Algorithm 1. https://arxiv.org/abs/2202.01017

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.nash_mtl(), adam=oc.adam(1e-3))
    """

    ridge: Static[float] = 1e-3
    iterations: Static[int] = 25
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "nash_mtl")
        whole("nash_mtl", "iterations", self.iterations, 1)
        if not isinstance(self.ridge, (int, float)) or isinstance(self.ridge, bool) or not 0 <= self.ridge < jnp.inf:
            raise ValueError(f"nash_mtl: ridge must be a number of at least 0, got {self.ridge!r}")

    def weigh(self, agreement, s, t):
        # The weights of gradients of norm 1, which are divided by the norms in the end; those of zeros stand apart.
        there = agreement.norms > 0
        unit = jnp.eye(agreement.size, dtype=agreement.cosines.dtype)
        cosines = jnp.where(unit > 0, 1 + self.ridge, agreement.cosines)

        def newton(a, _):
            """A damped step of the convex problem, in units of the weights: it never leaves those above 0."""
            scaled = cosines * jnp.outer(a, a)
            residual = scaled.sum(1) - 1
            step = jnp.linalg.solve(scaled + unit, residual)
            return a * (1 - step / (1 + jnp.sqrt(jnp.maximum(residual @ step, 0)))), None

        a, _ = jax.lax.scan(newton, jnp.full_like(agreement.norms, 1), None, length=self.iterations)
        return quotient(jnp.where(there, a, 0), agreement.norms), s


nash_mtl = lift(NashMTL, "nash_mtl", PerTask)
