import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import drawn
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{"rank": 4}, {"rank": 8, "b": 0.8, "scale": "none", "seed": 3}]


def paper(gs, rank, b=0.95, scale="spectral", seed=0):
    """Algorithm 1 of Ahn et al., for a matrix of inputs by outputs, from the same first right factor."""
    rows, columns = gs.shape[1:]
    m, updates = np.zeros((rows, columns)), []
    shape = columns, min(rank, rows, columns)
    q = np.asarray(jax.random.normal(jax.random.key(seed), shape, "float64"))
    for g in gs:
        total = m + g
        p = np.linalg.qr(total @ q)[0]
        r = total.T @ p
        m = total - (1 - b) * p @ r.T
        q = r / np.sqrt((r**2).sum(axis=0))
        updates.append((np.sqrt(columns / rows) if scale == "spectral" else 1) * p @ q.T)
    return {"updates": np.stack(updates), "mu": m, "right": q}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded_matrices, options):
    with jax.enable_x64(True):
        twin = by_leaf(paper, recorded_matrices.grads, **options)
    ours = run_float64(oc.scale_by_dion(**options), recorded_matrices)
    assert_agree(ours.state["mu"], twin["mu"], 1e-9)
    assert_agree(ours.updates, twin["updates"], 1e-6)


def test_stays_near_the_paper_in_float32(recorded_matrices):
    """The first factor is drawn in float32, so that the twin begins elsewhere: the power iteration forgets it."""
    with jax.enable_x64(True):
        twin = by_leaf(paper, recorded_matrices.grads, rank=4)
    ours = run(oc.scale_by_dion(rank=4), recorded_matrices, RATE)
    assert_agree(ours.params, moved(recorded_matrices.params, twin["updates"], RATE), 0.15)


def test_error_feedback_conserves_what_is_not_stepped_along():
    """After one step the momentum is what came in, less 1 - b of its part along the left factor."""
    g, tx = jax.random.normal(jax.random.key(0), (8, 6)), oc.scale_by_dion(rank=2, b=0.75, scale="none")
    u, state = tx.update(g, tx.init(g))
    left = np.linalg.svd(np.asarray(u))[0][:, :2]  # the update's range
    projection = left @ left.T
    np.testing.assert_allclose(own(state)["mu"], np.asarray(g) - 0.25 * projection @ np.asarray(g), atol=1e-5)
    assert np.linalg.matrix_rank(np.asarray(u), tol=1e-4) == 2


def test_finds_the_leading_singular_vectors_of_a_constant_gradient():
    rng = np.random.default_rng(0)
    u, _ = np.linalg.qr(rng.normal(size=(10, 3)))
    v, _ = np.linalg.qr(rng.normal(size=(7, 3)))
    g = jnp.asarray(u * [9.0, 3.0, 1.0] @ v.T, jnp.float32)
    tx = oc.scale_by_dion(rank=3, b=0.0, scale="none")
    state, step = tx.init(g), jax.jit(tx.update)
    for _ in range(30):
        update, state = step(g, state)
    np.testing.assert_allclose(update, u @ v.T, atol=1e-4)


def test_a_zero_gradient_steps_nowhere_and_keeps_the_factor():
    tx, g = oc.scale_by_dion(rank=2), jnp.zeros((4, 3))
    start = tx.init(g)
    u, state = tx.update(g, start)
    assert not u.any() and (own(state)["right"] == own(start)["right"]).all()
    after, _ = tx.update(drawn(0).grads["w"][0][:4], state)
    assert jnp.isfinite(after).all() and after.any()


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="scale_by_dion: rank must be a whole number of at least 1, got 0"):
        oc.scale_by_dion(rank=0).init(jnp.ones((2, 2)))
