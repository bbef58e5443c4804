"""A batched rule on the touched rows of several tables of one width."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.core.numbers import Decay
from optchain.embeddings.sleep import Sleeps, decayed

ROWS, WIDTH, IDS, STEPS = {"words": 50, "tags": 40}, 3, 8, 12


class Slots(NamedTuple):
    mu: jax.Array


@oc.rule
class Momentum(Sleeps):
    """Momentum that asks for leaves of one shape in one call, and whose slots decay while a row sleeps."""

    b: Decay = 0.9

    batched = True

    def init(self, p):
        return Slots(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        mu = self.b * s.mu + g
        return -0.1 * mu, Slots(mu)

    def sleep(self, s, k):
        return Slots(decayed(s.mu, self.b, k))


momentum = oc.lift(Momentum, "momentum_of_rows")


def tables():
    return {name: {"embedding": jnp.ones((rows, WIDTH))} for name, rows in ROWS.items()}


def gradients():
    """For each step, gradients of as many rows of each table, few enough that they are taken by themselves."""
    rng = np.random.default_rng(0)

    def rowed(rows):
        values = jnp.asarray(rng.normal(size=(IDS, WIDTH)), jnp.float32)
        return oc.RowGradient(jnp.asarray(rng.integers(0, rows, IDS), jnp.int32), values, rows)

    return [{name: {"embedding": rowed(rows)} for name, rows in ROWS.items()} for _ in range(STEPS)]


def trained(tx, params, found):
    state = tx.init(params)
    for grads in found:
        params, state = oc.apply(tx, grads, state, params)
    return params


@pytest.mark.parametrize("mode", ["lazy", "decay_corrected"])
def test_tables_in_one_batch_step_as_each_alone(mode):
    tx, found = oc.rows(momentum(), mode=mode), gradients()
    together = trained(tx, tables(), found)
    alone = {name: trained(tx, {name: tables()[name]}, [{name: g[name]} for g in found])[name] for name in ROWS}
    assert all((x["embedding"] != 1).any() for x in alone.values())
    chex.assert_trees_all_close(together, alone, rtol=1e-6)
