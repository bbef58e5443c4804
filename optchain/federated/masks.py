"""Whole numbers that clients add to what they send, so that nobody can read it, and that the sum is without.

Each pair of clients shares a mask, which one of them adds and the other subtracts, and each client has one of its own.
All arithmetic is modulo 2^32, so that the masks cancel bit for bit. What clients that have dropped out leave behind in
the sum, and the clients' own masks, the others make known: in the protocol from shares of their secrets.

References:
    Bonawitz et al., 2016, arXiv:1611.04482; the protocol with both kinds of masks is the paper's section "Secure
    Aggregation Protocol".
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from optchain.core.leading import along

Draw = Callable[[jax.Array], jax.Array]  # from the number of a pair to its mask, of whole numbers modulo 2^32


def masks(draw: Draw, others: jax.Array, client: jax.Array) -> jax.Array:
    """The sum of a client's own mask and of those that it shares with others, as it adds them to what it sends.

    Args:
        draw: the mask of a pair.
        others: bool, which clients it shares masks with; it is not asked of itself.
        client: its number.
    """
    size = len(others)

    def add(other: jax.Array, total: jax.Array) -> jax.Array:
        mask = draw(jnp.minimum(client, other) * size + jnp.maximum(client, other))
        signed = jnp.where(client <= other, mask, -mask)  # modulo 2^32
        return total + jnp.where(others[other] | (other == client), signed, 0)

    return jax.lax.fori_loop(0, size, add, jnp.zeros_like(draw(jnp.int32(0))))


def sent(draw: Draw, encoded: jax.Array) -> jax.Array:
    """What each client sends: its numbers u32[clients, ...] with its masks."""
    every = jnp.ones(len(encoded), bool)
    return encoded + jax.vmap(lambda client: masks(draw, every, client))(jnp.arange(len(encoded)))


def sum_of_sent(draw: Draw, messages: jax.Array, present: jax.Array) -> jax.Array:
    """The sum of the numbers of the clients that are present, from what they have sent and the masks that are left."""
    left = jax.vmap(lambda client: masks(draw, ~present, client))(jnp.arange(len(messages)))
    there = along(present, messages)
    added = lambda x: jnp.sum(jnp.where(there, x, 0), axis=0, dtype=jnp.uint32)  # noqa: E731
    return added(messages) - added(left)
