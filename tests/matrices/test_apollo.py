import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from techniques import own
from tiers import one_of_each

import optchain as oc

OPTIONS = [
    {"rank": 4},
    {"rank": 1, "scaling": "tensor", "scale": 3.0, "b1": 0.5, "b2": 0.9, "eps": 1e-4},
    {"rank": 3, "update_proj_gap": 20, "max_growth": 1e9, "seed": 2},
]


def paper(
    gs, rank, scale=1.0, update_proj_gap=200, scaling="channel", max_growth=1.01, b1=0.9, b2=0.999, eps=1e-8, seed=0,
    limited_after=True,
):  # fmt: skip
    """Algorithm 1 of Zhu et al. with its limit on the growth of the norm."""
    tall = gs.shape[1] > gs.shape[2]
    gs = gs.swapaxes(1, 2) if tall else gs
    m = v = size = 0
    updates = []
    for t, g in enumerate(gs):
        key = jax.random.fold_in(jax.random.key(seed), t // update_proj_gap)
        with jax.enable_x64(True):
            sketch = np.asarray(jax.random.normal(key, (rank, len(g)), "float64")) / np.sqrt(rank)
        r = sketch @ g
        m, v = b1 * m + (1 - b1) * r, b2 * v + (1 - b2) * r**2
        correction = np.sqrt(1 - b2 ** (t + 1)) / (1 - b1 ** (t + 1))
        adam = m / (np.sqrt(v) + eps)
        if limited_after:
            adam = m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2 ** (t + 1))) + eps)
        axis = 0 if scaling == "channel" else None
        before = np.linalg.norm(r, axis=axis)  # 0 for units that never work
        u = scale * np.linalg.norm(adam, axis=axis) / np.where(before > 0, before, 1) * g
        if t and np.linalg.norm(u) > max_growth * size:
            u = u / np.linalg.norm(u) * max_growth * size
        size = np.linalg.norm(u)
        updates.append(u if limited_after else correction * u)
    updates = np.stack(updates)
    return {"updates": updates.swapaxes(1, 2) if tall else updates}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(recorded_matrices, options):
    ours = run_float64(oc.scale_by_apollo(**options), recorded_matrices).updates
    assert_agree(ours, by_leaf(paper, recorded_matrices.grads, **options)["updates"], 1e-9)


def test_the_authors_limit_the_growth_before_the_bias_correction(recorded_matrices):
    """By as much as the docstring says, of one sketch or another."""
    ratios = []
    for gs in jax.tree.leaves(recorded_matrices.grads):
        ours, theirs = (paper(np.asarray(gs), rank=4, limited_after=x)["updates"] for x in (True, False))
        ratios.append(np.linalg.norm(theirs, axis=(1, 2)) / np.linalg.norm(ours, axis=(1, 2)))
    ratios = np.stack(ratios)
    np.testing.assert_allclose([ratios.min(), ratios.max()], [0.6, 1.2], atol=0.05)
    np.testing.assert_allclose([ratios[:, -1].min(), ratios[:, -1].max()], [1.0, 1.15], atol=0.04)


@pytest.mark.parametrize("scaling", ["channel", "tensor"])
def test_with_full_rank_the_factors_are_near_those_of_adam(scaling):
    """The norms of a sketch of 400 rows are those of the gradient within a twentieth (Johnson and Lindenstrauss)."""
    rng = np.random.default_rng(0)
    given = Recorded({"w": jnp.zeros((400, 500))}, {"w": jnp.asarray(rng.normal(size=(1, 400, 500)), jnp.float32)})
    adam = run(oc.scale_by_adam(), given).updates["w"][0]
    ours = run(oc.scale_by_apollo(rank=400, scaling=scaling), given).updates["w"][0]
    ratio = jnp.linalg.norm(ours, axis=0) / jnp.linalg.norm(adam, axis=0)
    # Adam makes each entry of the sketch 1, of norm sqrt(rank); the gradient has entries of size 1.
    assert abs(float(ratio.mean()) - 1) < 0.1 and float(ratio.std()) < 0.15


@pytest.mark.full
def test_the_size_of_the_update_grows_by_at_most_its_limit(recorded_matrices):
    bound, free = (
        [np.linalg.norm(u, axis=(1, 2)) for u in jax.tree.leaves(run(tx, recorded_matrices).updates)]
        for tx in (oc.scale_by_apollo(rank=4), oc.scale_by_apollo(rank=4, max_growth=1e9))
    )
    assert all((sizes[1:] <= 1.01 * sizes[:-1] * (1 + 1e-5)).all() for sizes in bound)
    assert all((sizes[1:] > 1.02 * sizes[:-1]).any() for sizes in free)


def test_sketches_are_drawn_again_and_hold_no_memory():
    state = oc.scale_by_apollo(rank=2).init(jnp.zeros((6, 9)))
    slots = {name: x for name, x in own(state).items() if name not in ("count", "seen")}
    assert jax.tree.map(jnp.shape, slots) == {"mu": (2, 9), "nu": (2, 9), "size": ()}


def test_wrong_arguments_are_told():
    with pytest.raises(ValueError, match="scale_by_apollo: there is no scaling 'channels'; did you mean 'channel'"):
        oc.scale_by_apollo(scaling="channels").init(jnp.ones((2, 2)))
    for name in ("rank", "update_proj_gap"):
        with pytest.raises(ValueError, match=f"scale_by_apollo: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_apollo(**{name: 0}).init(jnp.ones((2, 2)))
