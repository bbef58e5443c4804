"""The median of the updates of clients, entry by entry."""

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.rule import rule
from optchain.federated.ordered import mean_of_ranks, ordered
from optchain.federated.per_client import CombinesClients, PerClient


@rule
class ClientMedian(CombinesClients):
    r"""Takes of each entry the median over the clients: any minority of bad clients cannot move it far.

    .. math::
        u_j = \operatorname{median}_k \Delta_{k,j}

    Of an even number of clients it is the mean of the two in the middle. `update` and `oc.apply` take the extra
    argument `client_weights`, one number for each client: 0 for one that has dropped out, and all others count the
    same, for a number that a client says of itself could be wrong too. None counts all, and to give nothing is an
    error. It is the first link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields: none.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. A NaN counts
    as infinite: as long as fewer than half of the values of an entry are, it is finite. It sorts the K values of each
    entry.

    Raises:
        ValueError: while tracing, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: nothing; the paper's gradients are pseudo-gradients here. Where clients differ by nature,
    the median ignores what few of them have learned, and is biased.

    References:
        Yin et al., 2018, Definition 1 and Algorithm 1, option I. https://arxiv.org/abs/1803.01498

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_median(), lr=oc.scale_by_learning_rate(1.0))
    """

    def combine(self, g, weights, t):
        present = weights > 0
        count = present.sum()

        middle = (count - 1) // 2, jnp.minimum(count // 2, count - 1)
        return jax.tree.map(lambda x: mean_of_ranks(ordered(x, present), *middle), g), {}


client_median = lift(ClientMedian, "client_median", PerClient)
