"""The gradients of several tasks, weighed so that all tasks train at one pace."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.holes import part
from optchain.core.lift import lift
from optchain.core.mask import select
from optchain.core.numbers import NonNegative, Static
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks, each_task


class Pace(NamedTuple):
    """One number for each task."""

    weights: jax.Array
    first: jax.Array  # the first losses, 0 before there are any


@rule
class GradNorm(CombinesTasks):
    r"""Adds the gradients of several tasks with weights that grow for a task that trains slower than the others.

    .. math::
        u = \sum_{k=1}^{K} w_k g_k, \qquad
        w_k \leftarrow w_k - \eta\, \frac{\lVert g_k \rVert}{\bar G}
        \operatorname{sign}\left(w_k \lVert g_k \rVert - \bar G r_k^\alpha\right),
        \quad\text{scaled to } \sum_k w_k = K

    .. math::
        \bar G = \frac{1}{K} \sum_{k=1}^{K} w_k \lVert g_k \rVert, \qquad
        r_k = \frac{L_k / L_k^{(1)}}{\frac{1}{K} \sum_j L_j / L_j^{(1)}}

    where :math:`L_k^{(1)}` is the first loss. That is a step down
    :math:`\sum_k |w_k \lVert g_k \rVert - \bar G r_k^\alpha|`, with the targets held fixed. u has the weights from
    before it. `update` and `oc.apply` take the extra argument `losses`, K numbers; with None the weights stay, and to
    give nothing is an error. It is the first link of a chain; the gradients have a leading axis for the tasks in every
    leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are an
            error.
        alpha: :math:`\alpha`, how strongly tasks are brought to one pace, at least 0: 0 makes all norms equal.
        weight_rate: :math:`\eta`, the largest change of a weight at an update, about, at least 0.
        shared: patterns on paths, of the leaves that norms are taken of; the paper's are the last layer that all tasks
            share. All leaves if left out.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over the shared leaves;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). It reads the parameters' shapes: `update` without
    them is an error. The slots are K weights and K first losses. Leaves outside of the mask are summed. A loss or a
    norm that is not finite leaves the weights as they are; a NaN or infinity in a gradient spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, losses or gradients of
            another number of tasks, or `shared` that matches no leaf.

    Differs from the paper: the weights follow by gradient descent in units of the mean norm, where the authors take
    Adam, and never fall below 0. Losses are meant to be at least 0.

    References:
        Chen et al., 2018, equations 1 and 2 and Algorithm 1. https://arxiv.org/abs/1711.02257

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.gradnorm(("depth", "normals"), shared="trunk/*"), adam=oc.adam(1e-3))
    """

    tasks: Static[Tasks]
    alpha: NonNegative = 1.5
    weight_rate: NonNegative = 0.025
    shared: Static[str | tuple[str, ...] | None] = None

    extras = ("losses",)
    example = {"tasks": 1}

    def __post_init__(self):
        checked_tasks(self, "gradnorm", required=True)
        if isinstance(self.shared, list):
            object.__setattr__(self, "shared", tuple(self.shared))

    def init(self, params):
        return Pace(each_task(self.tasks, 1, params), each_task(self.tasks, 0, params))

    def measured(self, g: Any) -> Any:
        return g if self.shared is None else part(g, select(self.shared, g))

    def weigh(self, agreement, s, t, losses):
        if losses is None:
            return s.weights, s
        losses, size = losses.astype(s.first.dtype), agreement.size
        first = jnp.where(s.first == 0, losses, s.first)
        left = quotient(losses, first)
        pace = quotient(left, left.mean())
        mean = (s.weights * agreement.norms).mean()
        excess = s.weights * agreement.norms - mean * jnp.maximum(pace, 0) ** self.alpha
        slope = quotient(agreement.norms, mean) * jnp.sign(excess)
        moved = jnp.maximum(s.weights - self.weight_rate * slope, 0)
        moved = jnp.where(moved.sum() > 0, quotient(size * moved, moved.sum()), s.weights)
        usual = jnp.isfinite(moved).all() & jnp.isfinite(losses).all()
        return s.weights, Pace(jnp.where(usual, moved, s.weights), jnp.where(usual, first, s.first))


gradnorm = lift(GradNorm, "gradnorm", PerTask)
