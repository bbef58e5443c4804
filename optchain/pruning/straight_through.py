"""Masks through which gradients pass straight."""

import dataclasses
from typing import Any

import jax

from optchain.core.numbers import whole
from optchain.masking.largest import largest
from optchain.pruning.schedule import MaskSchedule, Pool, mask_schedule


@dataclasses.dataclass(frozen=True)
class StraightThrough(MaskSchedule):
    """Masks of weights that live on behind them, chosen again among all of them."""

    every: int

    keeps_dense = True

    def due(self, t: jax.Array) -> Any:
        return t % self.every == 0

    def renewed(self, pool: Pool, t: jax.Array) -> jax.Array:
        return largest(pool.score(None), pool.count, pool.sizes)


@mask_schedule
def straight_through(every: int = 1) -> StraightThrough:
    r"""Keeps the dense weights in the state and trains them all; the parameters are their masked values.

    .. math::
        w \leftarrow w + \mathrm{tx}(g(p), w), \qquad p = \begin{cases} w & \text{in the mask} \\ 0 & \text{else}
        \end{cases}

    The gradient of the sparse parameters moves all weights, as if the mask were not there, so that what was pruned may
    come back with the value that it has by then.

    Args:
        every: the steps between two choices of the masks, at least 1.

    Differs from the paper: the gradient passes to all weights, which the paper does for hard thresholds of units.

    Raises:
        ValueError: a number out of its range.

    References:
        Bengio et al., 2013, section 4. https://arxiv.org/abs/1308.3432

    >>> import optchain as oc
    >>> tx = oc.sparse(oc.adamw(1e-3), structure="2:4", schedule=oc.straight_through(every=10))
    """
    return StraightThrough(whole("straight_through", "every", every, 1))
