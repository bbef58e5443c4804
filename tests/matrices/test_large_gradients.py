"""One huge gradient among others leaves a technique of matrices finite, up to the bound that its docstring states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

import optchain as oc

PRODUCTS = dict.fromkeys(["scale_by_soap", "scale_by_kl_soap", "scale_by_shampoo", "scale_by_kron"], "1e18")
SUMS = dict.fromkeys(["scale_by_dion", "scale_by_galore", "scale_by_fira", "scale_by_apollo"], "1e36")
NORMED = dict.fromkeys(["scale_by_muon", "scale_by_normuon", "scale_by_scion"], None)
BOUNDS = PRODUCTS | SUMS | NORMED


@pytest.mark.parametrize("name", one_of_each(BOUNDS, BOUNDS.get))
def test_stays_finite_after_one_at_its_bound(name):
    stated = BOUNDS[name]
    assert stated is None or f"entries of g up to {stated}" in " ".join(getattr(oc, name).__doc__.split())
    every = {"every": 2} if stated == "1e18" else {}
    tx, p = getattr(oc, name)(**every), jnp.ones((16, 12))
    gradients = jax.random.normal(jax.random.key(0), (6, 16, 12)).at[2].set(float(stated or "3e38"))

    def step(state, g):
        updates, state = tx.update(g, state, p)
        return state, updates

    state, updates = jax.jit(lambda: jax.lax.scan(step, tx.init(p), gradients))()
    assert np.isfinite(updates).all()
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(state))
