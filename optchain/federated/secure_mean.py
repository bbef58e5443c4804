"""The mean of the updates of clients, of which the server sees the sum alone."""

import zlib
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import along
from optchain.core.lift import lift
from optchain.core.numbers import Positive
from optchain.core.numerics import added, quotient
from optchain.core.paths import map_named
from optchain.core.rule import rule
from optchain.core.spread import across
from optchain.core.whole import added_over, drawn
from optchain.federated.masks import sent, sum_of_sent
from optchain.federated.per_client import CombinesClients, PerClient

BITS = 30  # of the largest sum, so that no sum is beyond a whole number of 32 bits with its sign


@rule
class ClientSecureMean(CombinesClients):
    r"""Averages the updates of clients as sums of masked whole numbers, of which no single update can be read.

    .. math::
        u = \frac{\max_i n_i}{s \sum_k n_k} \sum_k q_k, \qquad
        q_k = \operatorname{round}\left(s \frac{n_k}{\max_i n_i} \operatorname{clip}(\Delta_k, -C, C)\right), \qquad
        s = \frac{2^{30}}{K C}

    Client k sends :math:`q_k + r_k + \sum_{i > k} r_{ki} - \sum_{i < k} r_{ik}` modulo :math:`2^{32}`, where the masks
    r are random. Those of pairs cancel in the sum, bit for bit; the masks of the clients themselves, and those that
    they share with clients that have dropped out, are taken from it. `update` and `oc.apply` take the extra argument
    `client_weights`, the numbers :math:`n_k`, one for each client: 0 for one that has dropped out. None counts all the
    same, and to give nothing is an error. It is the first link of a chain; the updates are pseudo-gradients as for
    `client_mean`.

    Fields:
        bound: C, > 0: larger entries are clipped to it. The update is exact to :math:`C K / 2^{30}` for each client.

    Metrics: `clients`, how many took part; `clipped`, the fraction of their entries that were clipped.

    Shapes and dtypes: any; leaves of shape (K, ...) become (...). Updates in the shapes of the parameters are those of
    one client. It reads the parameters' shapes: `update` without them is an error. No slots. An infinity is clipped as
    all else, and a NaN counts as 0: a guard after this link sees neither. Leaves outside of the mask are averaged in
    the open. Derivatives through a step are 0.

    Raises:
        ValueError: numbers out of their ranges; while tracing, weights of another number of clients, or different
            numbers of them in the leaves.

    Differs from the paper: this is its arithmetic, in one program. Keys are not agreed on and secrets are not shared:
    the masks are functions of this link's count and hide nothing from who runs it. The numbers of examples are known.

    References:
        Bonawitz et al., 2016. https://arxiv.org/abs/1611.04482

    >>> import optchain as oc
    >>> tx = oc.chain(combine=oc.client_secure_mean(bound=0.5), lr=oc.scale_by_learning_rate(1.0))
    """

    bound: Positive = 1.0

    metrics = ("clients", "clipped")

    def combine(self, g, weights, t):
        present, largest = weights > 0, jnp.max(weights)
        shares = quotient(weights, largest)
        back, size = quotient(largest, weights.sum()), len(weights)

        def of_leaf(path: str, x: jax.Array) -> jax.Array:
            scale = 2.0**BITS / (size * self.bound)
            clipped = jnp.clip(jnp.nan_to_num(x, nan=0.0, posinf=jnp.inf, neginf=-jnp.inf), -self.bound, self.bound)
            whole = jnp.round(clipped * along(shares, x).astype(x.dtype) * scale).astype(jnp.int32)
            encoded = jax.lax.bitcast_convert_type(whole, jnp.uint32)
            key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), t.astype(jnp.uint32)), _hash(path))

            def draw(pair: jax.Array) -> jax.Array:
                bits = lambda shape: jax.random.bits(jax.random.fold_in(key, pair), shape, jnp.uint32)  # noqa: E731
                return drawn(bits, path, x[0])

            total = sum_of_sent(draw, sent(draw, encoded), present)
            return jax.lax.bitcast_convert_type(total, jnp.int32).astype(x.dtype) / scale * back.astype(x.dtype)

        combined = map_named(of_leaf, g)
        beyond, every = _count(g, lambda x: jnp.abs(x) > self.bound), _count(g, jnp.ones_like)
        fraction = quotient(beyond * size, every * present.sum().astype(every.dtype))
        return combined, {"clipped": fraction}


def _count(g: Any, chosen: Callable[[jax.Array], jax.Array]) -> jax.Array:
    """How many entries of the updates are chosen, of all leaves and devices."""
    return added(added_over(jnp.sum(chosen(x), dtype=jnp.float32), across(x)) for x in jax.tree.leaves(g))


def _hash(path: str) -> int:
    return zlib.crc32(path.encode())


client_secure_mean = lift(ClientSecureMean, "client_secure_mean", PerClient)
