import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [
    {"rank": 4},
    {"rank": 3, "scale": 0.25, "b1": 0.5, "b2": 0.9, "eps": 1e-4, "max_growth": 1.1},
    {"rank": 2, "max_growth": 1e9},
]


def paper(gs, rank, update_proj_gap=200, scale=1.0, b1=0.9, b2=0.999, eps=1e-8, max_growth=1.01, limited_after=True):
    """Section 4 of Chen et al.: the columns of a matrix with no more rows than columns scaled, and growth limited."""
    if gs.shape[1] > gs.shape[2]:
        lying = paper(gs.swapaxes(1, 2), rank, update_proj_gap, scale, b1, b2, eps, max_growth, limited_after)
        return {"updates": lying["updates"].swapaxes(1, 2), "sizes": lying["sizes"]}
    m = v = size = 0
    updates, sizes = [], []
    for t, g in enumerate(gs):
        if t % update_proj_gap == 0:
            p = np.linalg.svd(g, full_matrices=False)[0][:, :rank]
        r = p.T @ g
        m, v = b1 * m + (1 - b1) * r, b2 * v + (1 - b2) * r**2
        correction = np.sqrt(1 - b2 ** (t + 1)) / (1 - b1 ** (t + 1))
        psi = m / (np.sqrt(v) + eps)
        if limited_after:
            psi = m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
        before = np.linalg.norm(r, axis=0)  # 0 for columns of zeros
        s = np.linalg.norm(psi, axis=0) / np.where(before > 0, before, 1) * (g - scale * p @ r)
        if t and np.linalg.norm(s) > max_growth * size:
            s = s / np.linalg.norm(s) * max_growth * size
        size = np.linalg.norm(s)
        sizes.append(size if limited_after else correction * size)
        updates.append((1 if limited_after else correction) * (scale * p @ psi + s))
    return {"updates": np.stack(updates), "sizes": np.stack(sizes)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded_matrices, options):
    """Signs of singular vectors cancel as long as the projection stays. In float32 they are exact to 1e-7 / gap."""
    ours, twin = oc.scale_by_fira(**options), by_leaf(paper, recorded_matrices.grads, **options)["updates"]
    assert_agree(run_float64(ours, recorded_matrices).updates, twin, 1e-7)
    assert_agree(run(ours, recorded_matrices).updates, twin, 2e-2)


def test_the_authors_limit_the_growth_before_the_bias_correction(recorded_matrices):
    """By as much as the docstring says; the rest of a first gradient of no more columns than the rank is 0."""
    ratios = []
    for gs in jax.tree.leaves(recorded_matrices.grads):
        ours, theirs = (paper(np.asarray(gs, np.float64), rank=4, limited_after=x)["sizes"] for x in (True, False))
        ratios.append(theirs / ours)
    ratios = np.stack(ratios)
    np.testing.assert_allclose([ratios.min(), ratios.max()], [0.48, 1.44], atol=0.006)
    np.testing.assert_allclose([ratios[:, -1].min(), ratios[:, -1].max()], [1.01, 1.15], atol=0.006)


def drawn(steps=100, shape=(5, 8)):
    rng = np.random.default_rng(0)
    grads = rng.normal(size=(steps, *shape)) * np.exp(0.3 * rng.normal(size=(steps, 1, 1)))
    return Recorded({"w": jnp.ones(shape)}, {"w": jnp.asarray(grads, jnp.float32)})


@pytest.mark.oracles
@pytest.mark.parametrize("shape", [(5, 8), (8, 5)], ids=str)
@pytest.mark.parametrize("scale", [1.0, 0.5])
def test_agrees_with_pytorch_optimizer_without_memory(shape, scale):
    """Without Adam's memory it has no bias correction, before which the twin limits the growth, we after it."""
    oracle = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    options = {"rank": 3, "update_proj_gap": 10**6, "scale": scale}

    def make(params):
        group = {"params": params, **options, "projection_type": "std"}
        return oracle.Fira([group], lr=0.01, betas=(0.0, 0.0), eps=1e-8)

    given = drawn(shape=shape)
    theirs, _ = run_torch(make, given)
    ours = run_float64(oc.scale_by_fira(**options, b1=0.0, b2=0.0), given, -0.01).params
    assert_agree(ours, theirs, 1e-5)  # its decomposition is in float32


def test_with_full_rank_and_a_scale_of_1_it_is_galore():
    given = drawn(20)
    ours, theirs = (run(make(rank=5), given).updates for make in (oc.scale_by_fira, oc.scale_by_galore))
    assert_agree(ours, theirs, 1e-4)


def test_the_rest_keeps_its_direction_and_grows_by_at_most_its_limit():
    given = drawn()
    grads = np.asarray(given.grads["w"], np.float64)
    inside = np.linalg.svd(grads[0], full_matrices=False)[0][:, :2]
    outside = np.eye(5) - inside @ inside.T
    for growth, free in ((1.01, False), (1e9, True)):
        updates = run_float64(oc.scale_by_fira(rank=2, max_growth=growth), given).updates["w"]
        rest = np.einsum("ij,tjk->tik", outside, updates)
        wanted = np.einsum("ij,tjk->tik", outside, grads)
        cosines = (rest * wanted).sum(1) / (np.linalg.norm(rest, axis=1) * np.linalg.norm(wanted, axis=1))
        np.testing.assert_allclose(cosines, 1, atol=1e-5)
        sizes = np.linalg.norm(rest, axis=(1, 2))
        assert (sizes[1:] > 1.02 * sizes[:-1]).any() == free


def test_the_state_is_that_of_galore_and_one_number():
    p = jnp.zeros((8, 5), jnp.bfloat16)
    ours, theirs = (make(rank=2).init(p) for make in (oc.scale_by_fira, oc.scale_by_galore))
    shapes = (jax.tree.map(jnp.shape, own(x)) for x in (ours, theirs))
    assert next(shapes) == next(shapes) | {"size": ()}
    assert all(x.dtype in (jnp.float32, jnp.int32) for x in jax.tree.leaves(ours))


def test_wrong_arguments_are_told():
    for name in ("rank", "update_proj_gap"):
        with pytest.raises(ValueError, match=f"scale_by_fira: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_fira(**{name: 0}).init(jnp.ones((2, 2)))
