"""Gradients of several tasks that are projected where they conflict."""

from dataclasses import KW_ONLY

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Seed, Static
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.core.seeds import key_of
from optchain.multitask.per_task import CombinesTasks, PerTask, Tasks, checked_tasks


@rule
class PCGrad(CombinesTasks):
    r"""Adds the gradients of several tasks, after each was projected onto the normal planes of those it conflicts with.

    .. math::
        g_i' \leftarrow g_i' - \frac{g_i' \cdot g_j}{\lVert g_j \rVert^2} g_j
        \quad\text{where } g_i' \cdot g_j < 0, \text{ for each } j \ne i \text{ in random order}, \qquad
        u = \sum_{i=1}^{K} g_i'

    It begins with :math:`g_i' = g_i`; products and norms are over all leaves together. The projected gradients are
    combinations of the given ones, so that the K x K products of these are all that is computed of them, besides one
    weighted sum. It is the first link of a chain; the gradients have a leading axis for the tasks in every leaf, as
    those of `jax.jacrev(losses)`, where `losses` gives K numbers.

    Fields:
        seed: of the random orders, a whole number or a key of `jax.random`, which may be traced: each member of a
            vmapped ensemble draws its own from its own seed. They are a function of the seed and this link's count.
        tasks: how many there are, or their names in the order of the leading axis: gradients of any other number are
            then an error, and each task has a metric. None for any number.

    Metrics: `min_cosine`, the least cosine of the angle between the gradients of two tasks, over all leaves together;
    `conflicts`, the share of the pairs of tasks whose cosine is below 0; `min_weight` and `max_weight`, of what the
    gradients are multiplied by; and `weight_NAME` (or `weight_0`, ...) of each task, where `tasks` says them.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Gradients in the shapes of the parameters are those
    of one task, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. Leaves
    outside of the mask are summed, and are no part of the products: a mask of the shared parameters projects these
    alone. A NaN or infinity of any task spoils the whole update.

    Raises:
        ValueError: `tasks` that is no number of at least 1 and no names, and while tracing, gradients of another number
            of tasks, or of different numbers in the leaves.

    Differs from the paper: nothing.

    References:
        Yu et al., 2020, Algorithm 1. https://arxiv.org/abs/2001.06782

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.pcgrad(), adam=oc.adam(1e-3))
    """

    seed: Seed = 0
    _: KW_ONLY
    tasks: Static[Tasks] = None

    def __post_init__(self):
        checked_tasks(self, "pcgrad")

    def weigh(self, agreement, s, t):
        size, cosines = agreement.size, agreement.cosines
        keys = jax.random.split(jax.random.fold_in(key_of(self.seed), t.astype(jnp.uint32)), size)
        orders = jax.vmap(lambda key: jax.random.permutation(key, size))(keys)
        tasks = jnp.arange(size)

        def project(parts, of_each):
            """Each gradient by its parts of the unit gradients, after one more projection."""
            product = jnp.sum(parts * cosines[of_each], axis=1)
            conflicts = (product < 0) & (of_each != tasks)
            return parts.at[tasks, of_each].add(-jnp.where(conflicts, product, 0)), None

        own = jnp.eye(size, dtype=cosines.dtype)
        # Of gradients of one length, so that large norms do not overflow: their projections are in proportion.
        parts, _ = jax.lax.scan(project, own, orders.T)
        moved = jnp.sum(agreement.norms[:, None] * (parts - own), axis=0)
        return 1 + quotient(moved, agreement.norms), s


pcgrad = lift(PCGrad, "pcgrad", PerTask)
