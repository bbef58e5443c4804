import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64, run_twin
from recorded_gradients import Recorded
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{"rank": 4}, {"rank": 3, "scale": 0.25, "b1": 0.5, "b2": 0.9, "eps": 1e-4}]


def paper(gs, rank, update_proj_gap=200, scale=1.0, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 2 of Zhao et al.: Adam in the space of the leading singular vectors of the shorter side."""
    tall = gs.shape[1] > gs.shape[2]
    m = v = 0
    updates = []
    for t, g in enumerate(gs):
        if t % update_proj_gap == 0:
            u, _, w = np.linalg.svd(g, full_matrices=False)
            p = w[:rank].T if tall else u[:, :rank]
        low = g @ p if tall else p.T @ g
        m, v = b1 * m + (1 - b1) * low, b2 * v + (1 - b2) * low**2
        n = m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
        updates.append(scale * (n @ p.T if tall else p @ n))
    return {"updates": np.stack(updates)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """Signs of singular vectors cancel as long as the projection stays. In float32 they are exact to 1e-7 / gap."""
    twin, tx = by_leaf(paper, recorded_matrices.grads, **options), oc.scale_by_galore(**options)
    assert_agree(run_float64(tx, recorded_matrices).updates, twin["updates"], 1e-7)
    assert_agree(run(tx, recorded_matrices).updates, twin["updates"], 2e-2)


def test_agrees_with_optax_on_square_matrices():
    """Elsewhere it projects the longer side; with a new projection every 5 steps, by the same SVD."""
    rng = np.random.default_rng(0)
    given = Recorded({"w": jnp.zeros((6, 6))}, {"w": jnp.asarray(rng.normal(size=(100, 6, 6)), jnp.float32)})
    ours = run(oc.scale_by_galore(rank=3, update_proj_gap=5, scale=0.5), given, RATE)
    twin = run_twin(optax.contrib.scale_by_galore(rank=3, update_proj_gap=5, scale=0.5), given, RATE)
    assert_agree(ours.params, twin.params, PARAMS)


def test_projects_the_shorter_side_where_optax_projects_the_longer():
    p = jnp.zeros((8, 4))
    ours, theirs = oc.scale_by_galore(rank=2).init(p), optax.contrib.scale_by_galore(rank=2).init(p)
    assert own(ours)["projector"].shape == (4, 2) and theirs.projector.shape == (8, 2)


def test_with_full_rank_and_one_projection_it_is_adam_in_another_basis():
    """The update of Adam on the rotated gradient, rotated back; its norm on the first step is that of signs."""
    g = jnp.asarray(np.random.default_rng(0).normal(size=(4, 6)), jnp.float32)
    tx = oc.scale_by_galore(rank=4)
    u, state = tx.update(g, tx.init(g))
    np.testing.assert_allclose(u, own(state)["projector"] @ jnp.sign(own(state)["projector"].T @ g), atol=1e-4)


def test_wrong_arguments_are_told():
    for name in ("rank", "update_proj_gap"):
        with pytest.raises(ValueError, match=f"scale_by_galore: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_galore(**{name: 0}).init(jnp.ones((2, 2)))
