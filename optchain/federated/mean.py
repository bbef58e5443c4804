"""The weighted mean of the updates of clients."""

import jax.numpy as jnp

from optchain.core.leading import weighted
from optchain.core.lift import lift
from optchain.core.numbers import Static
from optchain.core.numerics import quotient
from optchain.core.rule import rule
from optchain.federated.per_client import CombinesClients, PerClient


@rule
class ClientMean(CombinesClients):
    r"""Averages the updates of clients, each weighted by its number of examples: federated averaging.

    .. math::
        u = \frac{\sum_k n_k \Delta_k}{\sum_k n_k}

    `update` and `oc.apply` take the extra argument `client_weights`, the numbers :math:`n_k`, one for each client: 0
    for one that has dropped out. None counts all the same, and to give nothing is an error. It is the first link of a
    chain. The updates are pseudo-gradients, the parameters that each client was given minus those that it has arrived
    at, with a leading axis for the clients in every leaf. What follows is the rule of the server: a learning rate of 1
    is federated averaging, Adam (Yogi, Adagrad) before a learning rate is FedAdam (FedYogi, FedAdagrad).

    Fields:
        weighted: by the numbers of examples; otherwise all clients that take part count the same.

    Metrics: `clients`, how many took part.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. Without any client that
    takes part the update is 0. A NaN or infinity of any client that takes part spoils the update.

    Raises:
        ValueError: while tracing, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: it averages updates, not parameters, which is the same with a learning rate of 1.

    References:
        McMahan et al., 2016, Algorithm 1. https://arxiv.org/abs/1602.05629
        Reddi et al., 2020, Algorithm 2. https://arxiv.org/abs/2003.00295

    >>> import optchain as oc
    >>> fedavg = oc.chain(combine=oc.client_mean(), lr=oc.scale_by_learning_rate(1.0))
    >>> fedadam = oc.chain(
    ...     combine=oc.client_mean(),
    ...     adam=oc.scale_by_adam(b1=0.9, b2=0.99, eps=1e-3),
    ...     lr=oc.scale_by_learning_rate(0.01),
    ... )
    """

    weighted: Static[bool] = True

    def combine(self, g, weights, t):
        weights = weights if self.weighted else (weights > 0).astype(weights.dtype)
        return weighted(quotient(weights, jnp.sum(weights)), g), {}


client_mean = lift(ClientMean, "client_mean", PerClient)
