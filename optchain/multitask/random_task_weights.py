"""Gradients of several tasks with random weights."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Seed, Static
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks


@rule
class RandomTaskWeights(CombinesTasks):
    r"""Averages the gradients of several tasks with weights that are drawn again for each update.

    .. math::
        u = \sum_{k=1}^{K} \lambda_k g_k, \qquad
        \lambda = \operatorname{softmax}(z), \quad z_k \sim \mathcal N(0, 1)

    On average it is the mean of the gradients. It is the first link of a chain; the gradients have a leading axis for
    the tasks in every leaf, as those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        seed: of the weights, a whole number or a key of `jax.random`, which may be traced: each member of a vmapped
            ensemble draws its own from its own seed. They are a function of the seed and this link's count.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing; of its distributions it is the normal one.

    References:
        Lin et al., 2022, "Reasonable Effectiveness of Random Weighting", Algorithm 1. https://arxiv.org/abs/2111.10603

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.random_task_weights(), adam=oc.adam(1e-3))
    """

    seed: Seed = 0
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "random_task_weights")

    def weigh(self, agreement, s, t):
        key = jax.random.fold_in(key_of(self.seed), t.astype(jnp.uint32))
        drawn = jax.random.normal(key, agreement.norms.shape, agreement.norms.dtype)
        return jax.nn.softmax(drawn), s


random_task_weights = lift(RandomTaskWeights, "random_task_weights", PerTask)
