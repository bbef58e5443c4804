"""What is kept from round to round: which examples each client has, and what each of them and the server remember."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from optchain.core.leading import along
from optchain.core.numerics import wide
from optchain.lab.data.clients import Deal, dealt_by_class, dealt_evenly
from optchain.lab.data.task import Task
from optchain.lab.models.gradients import ClientGradients
from optchain.lab.training.compressed import compressor


class Kept(NamedTuple):
    """Of all clients, and of the server.

    Control variates of SCAFFOLD are mean gradients in float32, of each client and of all.
    """

    deal: Deal
    each: dict[str, Any]  # "control" and the state of "compress", as far as there are any, by client along a first axis
    control: Any  # the server's; None without control variates


def start(table: ClientGradients, key: jax.Array, task: Task, params: Any) -> Kept:
    """What is kept before the first round: the deal, control variates of 0, and nothing that compression has left."""
    if table.skew is None:
        deal = dealt_evenly(key, task.size, table.clients)
    else:
        deal = dealt_by_class(key, task.splits["train"].targets, table.clients, task.classes or 1, table.skew)
    zeros = jax.tree.map(lambda p: jnp.zeros_like(wide(p)), params)
    one = {"control": zeros} if table.control else {}
    if table.compress:
        one["compress"] = compressor(table).init(params)
    each = jax.tree.map(lambda x: jnp.broadcast_to(x, (table.clients, *x.shape)), one)
    return Kept(deal, each, zeros if table.control else None)


def of_clients(kept: Kept, name: str, chosen: jax.Array) -> Any:
    """What some clients keep, along a first axis; None where clients keep none of it."""
    return jax.tree.map(lambda x: x[chosen], kept.each[name]) if name in kept.each else None


def after(kept: Kept, name: str, chosen: jax.Array, present: jax.Array, new: Any) -> Kept:
    """With what some clients keep now; that of clients that handed in nothing stays as it was."""

    def put(old: jax.Array, x: jax.Array) -> jax.Array:
        return old.at[chosen].set(jnp.where(along(present, x), x, old[chosen]), unique_indices=True)

    return kept._replace(each=kept.each | {name: jax.tree.map(put, kept.each[name], new)})


def followed(kept: Kept, chosen: jax.Array, present: jax.Array, new: Any) -> Kept:
    """With the control variates after a round: those of its clients, and the mean of all."""
    size = len(kept.deal.counts)

    def moved(server: jax.Array, x: jax.Array, old: jax.Array) -> jax.Array:
        return server + jnp.where(along(present, x), x - old, 0).sum(0) / size

    server = jax.tree.map(moved, kept.control, new, of_clients(kept, "control", chosen))
    return after(kept, "control", chosen, present, new)._replace(control=server)
