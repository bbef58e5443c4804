"""The updates of the clients that are nearest to the others."""

from dataclasses import KW_ONLY
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import length, weighted
from optchain.core.lift import lift
from optchain.core.numbers import Static, whole
from optchain.core.numerics import global_norm, quotient
from optchain.core.rule import rule
from optchain.federated.per_client import CombinesClients, PerClient, of_present


@rule
class Krum(CombinesClients):
    r"""Takes the update of the client that is nearest to its neighbours, or averages a few of these.

    .. math::
        s_k = \sum_{i \in N_k} \lVert \Delta_k - \Delta_i \rVert^2, \qquad
        u = \frac 1 m \sum_{k \in M} \Delta_k

    where :math:`N_k` are the K - f - 2 other clients nearest to k, over all leaves together, and M those m of the least
    score s. With K of at least 2 f + 3, f bad clients cannot make it choose an update far from those of the others.
    `update` and `oc.apply` take the extra argument `client_weights`, one number for each client: 0 for one that has
    dropped out and is not one of the K, and all others count the same. None counts all, and to give nothing is an
    error. It is the first link of a chain; the updates are pseudo-gradients as for `client_mean`.

    Fields:
        byzantine: f, how many bad clients there may be among those of a round, at least 0.
        keep: m, how many updates are averaged, from 1 to K - f; with more than one it is multi-Krum.

    Metrics: `clients`, how many took part; `score`, the least score, of updates over the distance of the best one to
    its farthest neighbour.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. Updates that are not
    finite are far from all others. It computes the distances of all pairs.

    Raises:
        ValueError: numbers out of their ranges; while tracing, fewer than 2 f + 3 clients where f is at least 1, fewer
            than m + f, weights of another number of clients, or different numbers of them in the leaves.

    Differs from the paper: where so many clients drop out that K falls below f + 3, which only the step knows, each has
    its nearest neighbour alone. Where fewer than m take part all are averaged.

    References:
        Blanchard et al., 2017, "Machine Learning with Adversaries", sections 4 and 5 (Multi-Krum), NIPS 2017; the
        report is https://arxiv.org/abs/1703.02757

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.krum(byzantine=2, keep=3), lr=oc.scale_by_learning_rate(1.0))
    """

    byzantine: Static[int]
    _: KW_ONLY
    keep: Static[int] = 1

    metrics = ("clients", "score")
    example = {"byzantine": 0}

    def __post_init__(self):
        whole("krum", "byzantine", self.byzantine, 0)
        whole("krum", "keep", self.keep, 1)

    def combine(self, g, weights, t):
        size, present = length(g), weights > 0
        self._require(size)
        count = present.sum()
        distances = jnp.sort(apart(g, present), axis=1)[:, : size - 1]  # without that of each to itself
        ranks = jnp.arange(size - 1)
        near = ranks < jnp.clip(count - self.byzantine - 2, 1, None)
        far = jnp.max(jnp.where(near, distances, 0), axis=1, initial=0)  # of each, its farthest neighbour
        unit = jnp.min(jnp.where(present, far, jnp.inf))
        unit = jnp.where(jnp.isfinite(unit) & (unit > 0), unit, 1)
        # Over the least of these no score of a client that may be chosen overflows.
        scores = jnp.sum(jnp.where(near, jnp.square(distances / unit), 0), axis=1)
        order = jnp.lexsort((scores, ~present))
        chosen = jnp.zeros(size, bool).at[order[: self.keep]].set(True) & present
        shares = quotient(chosen.astype(weights.dtype), chosen.sum().astype(weights.dtype))
        return weighted(shares, of_present(chosen, g)), {"score": scores[order[0]].astype(jnp.float32)}

    def _require(self, size: int) -> None:
        """There are clients enough, of which the good ones are a majority with neighbours."""
        least = 2 * self.byzantine + 3 if self.byzantine else 1
        if size < least:
            cure = f"expected at least {least}, or byzantine of at most {max(size - 3, 0) // 2}"
            raise ValueError(f"krum: got {size} clients with byzantine = {self.byzantine}; {cure}")
        if self.keep > size - self.byzantine:
            cure = f"expected keep of at most {size - self.byzantine}"
            raise ValueError(
                f"krum: got keep = {self.keep} of {size} clients with byzantine = {self.byzantine}; {cure}"
            )


def apart(stacked: Any, present: jax.Array) -> jax.Array:
    """The distances of the clients to one another; infinite to itself, to one that is not present or not finite."""

    def between(a: Any, b: Any) -> jax.Array:
        return global_norm(jax.tree.map(jnp.subtract, a, b))

    distances = jax.vmap(lambda a: jax.vmap(lambda b: between(a, b))(stacked))(stacked)
    valid = jnp.outer(present, present) & ~jnp.eye(len(present), dtype=bool) & ~jnp.isnan(distances)
    return jnp.where(valid, distances, jnp.inf)


krum = lift(Krum, "krum", PerClient)
