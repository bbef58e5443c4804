"""The trimmed mean of the updates of clients, entry by entry."""

from typing import Annotated

import jax
import jax.numpy as jnp

from optchain.core.lift import lift
from optchain.core.numbers import Range, Scalar
from optchain.core.rule import rule
from optchain.federated.ordered import mean_of_ranks, ordered
from optchain.federated.per_client import CombinesClients, PerClient

ROUNDING = 1e-4  # of the product of a part and a number of clients: 0.1 of 10 are one


@rule
class ClientTrimmedMean(CombinesClients):
    r"""Averages of each entry the values of the clients but the largest and the smallest ones.

    .. math::
        u_j = \frac{1}{K - 2 b} \sum_{i=b+1}^{K-b} \Delta_{(i),j}, \qquad b = \lfloor \beta K \rfloor

    where :math:`\Delta_{(1),j} \le \dots \le \Delta_{(K),j}` are the values of an entry in order. Up to b bad clients
    cannot move it beyond the values of the others. `update` and `oc.apply` take the extra argument `client_weights`,
    one number for each client: 0 for one that has dropped out and is not one of the K, and all others count the same.
    None counts all, and to give nothing is an error. It is the first link of a chain; the updates are pseudo-gradients
    as for `client_mean`.

    Fields:
        trim: :math:`\beta`, the part that is left out at either end, in [0, 0.5), so that something is left: at least
            the expected part of bad clients.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client, which pass. It reads the parameters' shapes: `update` without them is an error. No slots. A NaN counts
    as infinite, and so is left out with the largest values. It sorts the K values of each entry.

    Raises:
        ValueError: a `trim` out of its range, which leaves no client; while tracing, weights of another number of
            clients, or different numbers of them in the leaves.

    Differs from the paper: nothing; the paper's gradients are pseudo-gradients here, and where :math:`\beta K` is not a
    whole number it is rounded down.

    References:
        Yin et al., 2018, Definition 2 and Algorithm 1, option II. https://arxiv.org/abs/1803.01498

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_trimmed_mean(0.2), lr=oc.scale_by_learning_rate(1.0))
    """

    trim: Annotated[Scalar, Range("[0, 0.5)")] = 0.1

    def combine(self, g, weights, t):
        present = weights > 0
        count = present.sum()
        out = jnp.floor(jnp.asarray(self.trim, jnp.float32) * count.astype(jnp.float32) + ROUNDING).astype(count.dtype)
        out = jnp.clip(out, 0, jnp.maximum(count - 1, 0) // 2)
        return jax.tree.map(lambda x: mean_of_ranks(ordered(x, present), out, count - 1 - out), g), {}


client_trimmed_mean = lift(ClientTrimmedMean, "client_trimmed_mean", PerClient)
