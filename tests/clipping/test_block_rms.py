import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin

import optchain as oc

BOUNDS = [1e-4, 0.02, 1e3]  # clips every recorded gradient, some, none


def paper(gs, threshold):
    """The clipping of updates in section 6 of Shazeer and Stern."""
    return {"updates": np.stack([g / max(1.0, np.sqrt(np.sum(g**2) / g.size) / threshold) for g in gs])}


@pytest.mark.parametrize("bound", BOUNDS)
def test_agrees_with_the_paper_and_optax(recorded, bound):
    ours, twin = (
        run(oc.clip_by_block_rms(bound), recorded, -0.1),
        run_twin(optax.clip_by_block_rms(bound), recorded, -0.1),
    )
    exact = by_leaf(paper, recorded.grads, threshold=bound)["updates"]
    assert_agree(ours.updates, exact, SLOTS)
    assert_agree(run_float64(oc.clip_by_block_rms(bound), recorded).updates, exact, 1e-12)
    assert_agree(ours.params, moved(recorded.params, exact, -0.1), PARAMS)
    assert_agree(ours.updates, twin.updates, SLOTS)


def test_leaves_gradients_within_the_bound_alone(recorded):
    updates = run(oc.clip_by_block_rms(1e3), recorded).updates
    assert all(map(np.array_equal, jax.tree.leaves(updates), jax.tree.leaves(recorded.grads)))


def test_the_bound_does_not_grow_with_the_size_as_a_norm_does():
    g, tx = (
        {"few": jnp.full((4,), 3.0), "many": jnp.full((4000,), 3.0), "none": jnp.zeros(0)},
        oc.clip_by_block_rms(1.0),
    )
    u, _ = tx.update(g, tx.init(g))
    np.testing.assert_allclose(u["few"], 1.0, rtol=1e-6)
    np.testing.assert_allclose(u["many"], 1.0, rtol=1e-6)
