"""The mean of the updates of clients, with differential privacy for each of them."""

from dataclasses import KW_ONLY

import jax.numpy as jnp

from optchain.clipping.private_aggregate import PrivateAggregate
from optchain.core.lift import lift
from optchain.core.numbers import NonNegative, Positive, Range, Seed, Static
from optchain.core.rule import rule
from optchain.federated.per_client import CombinesClients, PerClient


@rule
class ClientPrivateMean(CombinesClients):
    r"""Averages the updates of clients, each clipped, with noise that hides any one of them: DP-FedAvg.

    .. math::
        u = \frac{1}{B} \left(\sum_k \Delta_k \min\left(1, \frac{C}{\lVert \Delta_k \rVert}\right)
        + \sigma C\, \mathcal{N}(0, I)\right)

    where the norm is that of all leaves of one client together, so that it is all of a client's examples that are
    hidden. `update` and `oc.apply` take the extra argument `client_weights`, one number for each client: 0 for one that
    has dropped out, and all others count the same. None counts all, and to give nothing is an error. It is the first
    link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields:
        l2_norm_clip: C, the bound on the norm of one client's update, > 0.
        noise_multiplier: :math:`\sigma`, at least 0; with the part of the clients in a round and the number of rounds
            it gives the privacy, see `oc.privacy_spent`.
        key: of the noise, a whole number or a key of `jax.random`, which may be traced. What is to be private needs one
            that nobody can guess.
        clients: B, > 0; None is how many took part. Where clients drop out, or each is drawn by itself, as accountants
            assume, B must be the expected number, for how many took part tells something of each.

    Metrics: `clients`, how many took part; `clipped`, the fraction of them whose update was clipped.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots: the noise is a function of
    the key, this link's count and the leaf's path. A NaN or infinity of a client that takes part spoils the update.
    Leaves outside of the mask are averaged, neither clipped nor noised: they are not private.

    Raises:
        ValueError: numbers out of their ranges; while tracing, weights of another number of clients, or different
            numbers of them in the leaves.

    Differs from the paper: all clients count the same, which is its weight with a bound of one example.

    References:
        McMahan et al., 2017, Algorithm 1, flat clipping, the estimator of fixed denominator.
        https://arxiv.org/abs/1710.06963

    >>> import optchain as oc
    >>> tx = oc.chain(
    ...     combine=oc.client_private_mean(1.0, noise_multiplier=1.1, key=7, clients=100),
    ...     lr=oc.scale_by_learning_rate(1.0),
    ... )
    """

    l2_norm_clip: Positive
    noise_multiplier: NonNegative
    key: Seed = 0
    _: KW_ONLY
    clients: Static[float | None] = None

    metrics = ("clients", "clipped")
    # Without noise, which depends on the path, stacked layers are updated as layers of their own.
    example = {"l2_norm_clip": 1.0, "noise_multiplier": 0.0}

    def __post_init__(self):
        b = self.clients
        if b is not None and (isinstance(b, bool) or not isinstance(b, (int, float)) or b not in Range("(0, inf)")):
            raise ValueError(f"client_private_mean: clients must be a number > 0 or None, got {b!r}")

    def combine(self, g, weights, t):
        count = (weights > 0).sum()
        mechanism = PrivateAggregate(self.l2_norm_clip, self.noise_multiplier, self.key, batch_size=self.clients)
        total, clipped = mechanism.clipped_sum(g)
        fraction = clipped.astype(jnp.float32) / jnp.maximum(count, 1).astype(jnp.float32)
        return mechanism.noised_mean(total, count, t), {"clipped": fraction}


client_private_mean = lift(ClientPrivateMean, "client_private_mean", PerClient)
