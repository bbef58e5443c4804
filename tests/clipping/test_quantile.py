import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from recorded_gradients import scaled

import optchain as oc


def definition(gs, quantile):
    """Each entry limited to the quantile of the sizes, which is interpolated between two of them in order."""
    updates = []
    for g in gs:
        sizes = sorted(np.abs(g).ravel().tolist())
        at = quantile * (len(sizes) - 1)
        low, high = sizes[int(at)], sizes[min(int(at) + 1, len(sizes) - 1)]
        bound = low + (at - int(at)) * (high - low)
        updates.append(np.minimum(np.maximum(g, -bound), bound))
    return {"updates": np.stack(updates)}


@pytest.mark.parametrize("quantile", [0.0, 0.5, 0.99, 1.0])
def test_agrees_with_the_definition(recorded, quantile):
    tx, exact = oc.clip_by_quantile(quantile), by_leaf(definition, recorded.grads, quantile=quantile)["updates"]
    ours = run(tx, recorded, -0.1)
    # A quantile at 0.99 of 1023 is interpolated with a weight that float32 holds to 1e-4 of the gap between two sizes.
    assert_agree(ours.updates, exact, 5 * SLOTS)
    assert_agree(ours.params, moved(recorded.params, exact, -0.1), PARAMS)
    assert_agree(run_float64(tx, recorded).updates, exact, 1e-12)


def test_the_units_do_not_matter(recorded):
    tx = oc.clip_by_quantile(0.9)
    own, larger = run(tx, recorded).updates, run(tx, scaled(recorded, 2.0**20)).updates
    assert_agree(larger, jax.tree.map(lambda u: u * 2.0**20, own), 1e-6)


def test_brings_an_outlier_down_to_the_rest_and_keeps_every_sign():
    g = {"w": jnp.concatenate([jnp.linspace(-1, 1, 99), jnp.array([1e6])])}
    tx = oc.clip_by_quantile(0.98)
    u = tx.update(g, tx.init(g))[0]["w"]
    np.testing.assert_allclose(np.abs(u).max(), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(np.sign(u), np.sign(g["w"]))


def test_passes_empty_leaves_and_shows_a_nan():
    tx, g = oc.clip_by_quantile(), {"none": jnp.zeros((0, 2)), "bad": jnp.array([1.0, np.nan])}
    u, _ = tx.update(g, tx.init(g))
    assert u["none"].shape == (0, 2) and np.all(np.isnan(u["bad"]))
