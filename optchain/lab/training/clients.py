"""A round of federated learning: some clients train on their own examples, and each hands in its update.

All clients of a round are computed side by side. Everything is a function of the seed and the number of the round; what
clients keep from round to round is carried with the run.
"""

import dataclasses
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import optchain as oc
from optchain.core.leading import along, weighted
from optchain.core.numerics import quotient, wide
from optchain.core.paths import map_named
from optchain.lab.models.gradients import Byzantine, ClientGradients
from optchain.lab.settings.places import target
from optchain.lab.training.batch_gradients import Result
from optchain.lab.training.clients_kept import Kept, after, followed, of_clients
from optchain.lab.training.compressed import averaged_of, bytes_handed_in, compressed
from optchain.lab.training.keys import Keys, folded
from optchain.lab.training.layout import ONE_DEVICE, Layout

# From parameters, rest, rows of the examples and keys to the loss, the metrics and the rest after it, and gradients
Differentiate = Callable[[Any, Any, jax.Array, Keys], tuple[tuple[jax.Array, tuple[Any, Any]], Any]]


def local_chain(table: ClientGradients) -> optax.GradientTransformation:
    """The optimizer of a client.

    Raises:
        ValueError: naming the dotted key, see `optchain.from_config`.
    """
    return oc.from_config(table.local, "gradient.local", resolve=target)


class Trained(NamedTuple):
    """What a client hands in, and what its batches before its first step told."""

    update: Any  # the parameters that it was given minus those it has arrived at, in float32
    rest: Any
    value: jax.Array
    metrics: dict[str, jax.Array]
    control: Any  # its mean gradient; None without control variates


@dataclasses.dataclass(frozen=True)
class Round:
    """One round of a run.

    Args:
        table: of the configuration, whose numbers may be traced.
        differentiate: the training loss.
        batch: examples of each local step.
        order: the key that clients and batches are drawn from, the same for a whole run.
        layout: where arrays lie; each device of a mesh computes its share of the clients of a round.
    """

    table: ClientGradients
    differentiate: Differentiate
    batch: int
    order: jax.Array
    layout: Layout = ONE_DEVICE

    @property
    def examples(self) -> int:
        """That the clients of a round train on."""
        return self.table.round * self.table.local_steps * self.batch

    def __call__(self, carry: dict[str, Any], keys: Keys) -> tuple[Result, Any, Kept]:
        """What a round tells, the updates with a leading axis for its clients, and what is carried to the next one."""
        table, kept = self.table, carry["clients"]
        drawing, batches, failing, attacking = jax.random.split(jax.random.fold_in(self.order, carry["step"]), 4)
        chosen = self.layout.divided(jax.random.choice(drawing, table.clients, (table.round,), replace=False))
        params = self.layout.used(carry["params"])

        def train(client: jax.Array, control: Any) -> Trained:
            rows = kept.deal.of(client, jax.random.fold_in(batches, client), table.local_steps, self.batch)
            drift = None if control is None else jax.tree.map(jnp.subtract, kept.control, control)
            return self._trained(params, carry["rest"], rows, folded(keys, client), drift)

        trained = self.layout.divided(jax.vmap(train)(chosen, of_clients(kept, "control", chosen)))
        counts = kept.deal.counts[chosen].astype(jnp.float32)
        present = (counts > 0) & ~jax.random.bernoulli(failing, table.dropout, (table.round,))
        weights, told = jnp.where(present, counts, 0), quotient(counts, counts.sum())
        mean = lambda tree: jax.tree.map(lambda x: weighted(told, x), tree)  # noqa: E731
        updates = trained.update if table.byzantine is None else attacked(table.byzantine, attacking, chosen, trained)
        if table.compress:  # what Byzantine clients hand in, too: the server reads nothing else
            states = of_clients(kept, "compress", chosen)
            updates, states = self.layout.divided(compressed(table, chosen, updates, states, params))
            kept = after(kept, "compress", chosen, present, states)
        metrics = mean(trained.metrics) | self._traffic(carry, present)
        rest = averaged(weights, trained.rest, carry["rest"])
        if table.control:
            kept = followed(kept, chosen, present, trained.control)
        return Result(mean(trained.value), metrics, rest, {"client_weights": weights}), updates, kept

    def _trained(self, params: Any, rest: Any, rows: jax.Array, keys: Keys, drift: Any) -> Trained:
        """The steps of one client; `drift` is added to its gradients."""
        tx, mu = local_chain(self.table), self.table.proximal

        def step(state: Any, of_step: Any) -> tuple[Any, Any]:
            (now, opt_state, rest, total), (i, batch) = state, of_step
            (value, (scores, rest)), grads = self.differentiate(now, rest, batch, folded(keys, i))
            if drift is not None:
                total = jax.tree.map(lambda x, g: x + wide(g), total, grads)
                grads = jax.tree.map(lambda g, x: wide(g) + x, grads, drift)
            if mu is not None:
                grads = jax.tree.map(
                    lambda g, p, given, mu=mu: wide(g) + mu * (wide(p) - wide(given)), grads, now, params
                )
            now, opt_state = oc.apply(tx, grads, opt_state, now, value=value)
            return (now, opt_state, rest, total), (value, scores)

        none = None if drift is None else jax.tree.map(lambda p: jnp.zeros_like(wide(p)), params)
        begun = (params, tx.init(params), rest, none)
        steps = self.table.local_steps
        (now, _, rest, total), told = jax.lax.scan(step, begun, (jnp.arange(steps), rows))
        value, scores = jax.tree.map(lambda x: x[0], told)
        update = jax.tree.map(lambda given, p: wide(given) - wide(p), params, now)
        # With SGD this is the control variate of option II, (update / (steps * rate)) + own - server; and it needs no
        # rate, so that any chain may train the client.
        control = None if drift is None else jax.tree.map(lambda x: x / steps, total)
        return Trained(update, rest, value, scores, control)

    def _traffic(self, carry: dict[str, Any], present: jax.Array) -> dict[str, jax.Array]:
        """The bytes that a round sends: to the server, and from it to all clients that were drawn."""
        params, rest = carry["params"], carry["rest"]
        up = bytes_handed_in(self.table, params, rest)
        model = sum(x.nbytes for x in [*jax.tree.leaves(params), *averaged_of(rest)])
        control = sum(wide(x).nbytes for x in jax.tree.leaves(params)) if self.table.control else 0
        sent = present.sum().astype(jnp.float32) * float(up)
        return {"bytes_up": sent, "bytes_down": jnp.float32(self.table.round * (model + control))}


def attacked(table: Byzantine, key: jax.Array, chosen: jax.Array, trained: Trained) -> Any:
    """The updates of a round in which Byzantine clients hand in something else."""

    def of_leaf(path: str, x: jax.Array) -> jax.Array:
        if table.attack == "noise":
            own = jax.random.fold_in(key, zlib.crc32(path.encode()))
            bad = table.size * jax.random.normal(own, x.shape, x.dtype)
        else:
            bad = (-table.size if table.attack == "sign_flip" else table.size) * x
        return jnp.where(along(chosen < table.clients, x), bad, x)

    return map_named(of_leaf, trained.update)


def averaged(weights: jax.Array, stacked: Any, before: Any) -> Any:
    """The rest of the model after a round: the mean over the clients that took part; without any, what it was. What
    is no real number, such as a count, is that of the first client."""
    shares, any_part = quotient(weights, weights.sum()), (weights > 0).any()

    def of_leaf(x: jax.Array, old: jax.Array) -> jax.Array:
        new = weighted(shares, wide(x)).astype(x.dtype) if jnp.issubdtype(x.dtype, jnp.floating) else x[0]
        return jnp.where(any_part, new, old)

    return jax.tree.map(of_leaf, stacked, before)
