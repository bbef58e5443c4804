"""What clients hand in, compressed by a chain that each of them runs on its update, and the bytes of it."""

from typing import Any

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.compression.feedback import AmongDevices
from optchain.core.chain import Chain
from optchain.core.numerics import wide
from optchain.core.transform import definition_of
from optchain.core.walk import numbers_of
from optchain.core.whole import part_from
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.settings.places import target

KEY = "gradient.compress"


def compressor(table: ClientGradients) -> optax.GradientTransformation:
    """The chain that a client runs on its update.

    Raises:
        ValueError: naming the dotted key; also where what leaves the chain is not what a compressed mean sends.
    """
    tx = oc.from_config(table.compress or {}, KEY, resolve=target)
    last = message_of(tx)
    if last is None:
        cure = "expected one that says what is sent, such as send = { use = 'top_k_mean', density = 0.01 }"
        raise ValueError(f"{KEY}: its last link does not compress; {cure}")
    if last.names:
        cure = "leave axis out, for each client compresses its update by itself"
        raise ValueError(f"{KEY}: {last.name} has axis = {last.rule.axis!r}; {cure}")
    if rates := [name for name in numbers_of(tx) if name.split(".")[-1] == "learning_rate"]:
        cure = "expected those of a client in gradient.local and that of the server in optimizer"
        raise ValueError(f"{KEY}.{rates[0]}: an update that is handed in has no learning rate; {cure}")
    return tx


def message_of(tx: optax.GradientTransformation) -> AmongDevices | None:
    """The last link of a chain, which says what is sent; None where it is of another kind."""
    link = definition_of(tx)
    while isinstance(link, Chain) and link.links:
        link = definition_of(link.links[-1][1])
    return link if isinstance(link, AmongDevices) else None


def compressed(table: ClientGradients, clients: jax.Array, updates: Any, states: Any, params: Any) -> tuple[Any, Any]:
    """What some clients hand in of their updates, and the states of their chains after it.

    Random bits of the chain differ between clients.

    Args:
        table: of the configuration.
        clients: their numbers.
        updates: theirs, along a first axis.
        states: of their chains, likewise.
        params: that the server has given them.
    """
    tx = compressor(table)
    largest = max((x.size for x in jax.tree.leaves(params)), default=0)

    def of_client(client: jax.Array, update: Any, state: Any) -> tuple[Any, Any]:
        with part_from(client.astype(jnp.uint32) * jnp.uint32(largest)):  # as if all clients' leaves were one
            return tx.update(update, state, params)

    return jax.vmap(of_client)(clients, updates, states)


def bytes_handed_in(table: ClientGradients, params: Any, rest: Any) -> int:
    """The bytes that one client sends to the server: its update, its control variate, and averaged parts of the rest.

    The last two are sent whole.
    """
    update = sum(wide(x).nbytes for x in jax.tree.leaves(params))
    last = message_of(compressor(table)) if table.compress else None
    sent = update if last is None else last.message(params)
    return sent + (update if table.control else 0) + sum(wide(x).nbytes for x in averaged_of(rest))


def averaged_of(rest: Any) -> list[jax.Array]:
    """What of the rest of the model is averaged over clients: real numbers, such as statistics of batches."""
    return [x for x in jax.tree.leaves(rest) if jnp.issubdtype(x.dtype, jnp.floating)]
