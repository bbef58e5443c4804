"""A gradient of few examples spans few directions, and rounding the others: no update goes there."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

import optchain as oc

STEPS, SIDE, RANK = 12, 48, 6
ROTATED = ["scale_by_dion", "scale_by_soap", "scale_by_kl_soap", "scale_by_galore", "scale_by_fira"]
OTHERS = ["scale_by_muon", "scale_by_normuon", "scale_by_scion", "scale_by_shampoo", "scale_by_apollo"]


@pytest.mark.parametrize("name", [*ROTATED, *one_of_each(OTHERS)])
def test_the_update_of_a_gradient_of_low_rank_stays_in_its_space(name):
    """Six inputs to a layer of 48: of a random update an eighth would be in the space that they span."""
    inputs, errors = jax.random.split(jax.random.key(0))
    inputs = jax.random.normal(inputs, (SIDE, RANK))
    gradients = inputs @ jax.random.normal(errors, (STEPS, RANK, SIDE))
    space, tx, p = np.linalg.qr(inputs)[0], getattr(oc, name)(), jnp.zeros((SIDE, SIDE))
    run = jax.jit(lambda gs: jax.lax.scan(lambda s, g: tx.update(g, s, p)[::-1], tx.init(p), gs)[1])
    updates = np.asarray(run(gradients))[2:]  # the first update of SOAP is 0
    inside = np.sum((space.T @ updates) ** 2, axis=(1, 2)) / np.sum(updates**2, axis=(1, 2))
    np.testing.assert_allclose(inside, 1.0, atol=1e-4)
