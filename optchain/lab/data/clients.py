"""The training examples dealt to clients, each of which sees its own alone."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.lab.data import order


class Deal(NamedTuple):
    """Which rows each client has."""

    rows: jax.Array  # i32[rows], those of one client after those of another
    counts: jax.Array  # i32[clients]

    def of(self, client: jax.Array, key: jax.Array, steps: int, batch: int) -> jax.Array:
        """The rows of so many batches of one client, i32[steps, batch]: its epochs one after another, each a
        permutation of its own.

        A client without examples gets those of others, whose number of examples, 0, says that they do not count.

        Args:
            client: its number, from 0.
            key: a random key.
            steps: batches.
            batch: examples of each.
        """
        count = self.counts[client]
        first = jnp.where(count > 0, jnp.cumsum(self.counts)[client] - count, 0)
        places = order.rows(order.seed_of(key), 0, steps * batch, jnp.maximum(count, 1), jnp)
        return self.rows[first + places].reshape(steps, batch)


def dealt_evenly(key: jax.Array, size: int, clients: int) -> Deal:
    """Rows dealt at random, to each client as many, or one more."""
    counts = size // clients + (jnp.arange(clients) < size % clients)
    return Deal(jax.random.permutation(key, size).astype(jnp.int32), counts.astype(jnp.int32))


def dealt_by_class(key: jax.Array, targets: Any, clients: int, classes: int, skew: jax.Array | float) -> Deal:
    """Rows dealt so that clients differ in their classes, and in their numbers of examples.

    The rows of each class are divided among the clients in shares that are drawn from Dirichlet's distribution: with a
    small `skew` few clients have nearly all of a class, with a large one all have as many. Clients may have none.

    Args:
        key: a random key.
        targets: the class of each row.
        clients: how many.
        classes: how many.
        skew: the parameter of Dirichlet's distribution, the same for all clients.

    References:
        Yurochkin et al., 2019, section 4, arXiv:1905.12022. Hsu et al., 2019, arXiv:1909.06335, draw the classes of
        each client instead, which then all have as many examples.
    """
    shuffling, drawing = jax.random.split(key)
    shuffled = jax.random.permutation(shuffling, len(targets))
    by_class = shuffled[jnp.argsort(jnp.asarray(targets)[shuffled], stable=True)]
    sizes = jnp.bincount(jnp.asarray(targets), length=classes)
    ends = jnp.cumsum(sizes)
    shares = jax.random.dirichlet(drawing, jnp.full(clients, skew, jnp.float32), (classes,))
    edges = (ends - sizes)[:, None] + sizes[:, None] * jnp.cumsum(shares, axis=1)
    edges = edges.at[:, -1].set(ends).reshape(-1)  # of the rows of each client within those of each class
    owners = jnp.searchsorted(edges, jnp.arange(len(targets)) + 0.5) % clients
    counts = jnp.bincount(owners, length=clients).astype(jnp.int32)
    return Deal(by_class[jnp.argsort(owners, stable=True)].astype(jnp.int32), counts)
