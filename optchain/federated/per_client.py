"""The runner of rules that combine the updates of several clients, and what these rules have in common."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import Leading, along, length, weighted
from optchain.core.numerics import quotient
from optchain.core.routing import Given
from optchain.core.runner import Now


class PerClient(Leading):
    """Runs a joint rule on updates with a leading axis for the clients, which the rule takes away.

    Updates in the parameters' own shapes are those of one client. Leaves outside of the mask are averaged as
    `client_mean` does it.
    """

    axis = "clients"

    def rest(self, u: jax.Array, given: Given) -> jax.Array:
        weights = self._weights(u, given)
        return weighted(quotient(weights, weights.sum()), of_present(weights > 0, u))

    def _with_extras(self, now: Now, updates: Any) -> Now:
        return dataclasses.replace(now, scalars={"client_weights": self._weights(updates, now.given)})

    def _weights(self, stacked: Any, given: Given) -> jax.Array:
        """What each client counts, at least 0; without any, all count the same."""
        weights = self.numbers_of("client_weights", stacked, given)
        return jnp.ones(length(stacked)) if weights is None else jnp.where(weights > 0, weights, 0)


class CombinesClients:
    """A base class of the rules: a subclass says in `combine` what becomes of the updates of those that take part."""

    core_ndim = None
    on_shards = True
    extras = ("client_weights",)
    metrics: tuple[str, ...] = ("clients",)

    def combine(self, g: Any, weights: jax.Array, t: jax.Array) -> tuple[Any, dict[str, jax.Array]]:
        """One update and further metrics, of updates that are 0 for clients whose weight is 0."""
        raise NotImplementedError

    def update(self, g: Any, s: Any, p: Any, t: jax.Array, client_weights: jax.Array) -> tuple[Any, Any, Any]:
        """The combined update."""
        if not jax.tree.leaves(g):  # of a mask that leaves everything out
            return g, s, dict.fromkeys(self.metrics, jnp.zeros(()))
        present = client_weights > 0
        combined, shown = self.combine(of_present(present, g), client_weights, t)
        return combined, s, {"clients": present.sum().astype(jnp.float32), **shown}


def of_present(present: jax.Array, stacked: Any) -> Any:
    """The updates with zeros for the clients that have dropped out, whatever their updates hold."""
    return jax.tree.map(lambda x: jnp.where(along(present, x), x, 0), stacked)
