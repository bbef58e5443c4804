import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, moved, run, run_float64
from techniques import own
from tiers import one_of_each

import optchain as oc

OPTIONS = [{}, {"alpha": 0.8, "z_threshold": 0.5, "warmup_steps": 5}]


def paper(grads, alpha=0.97, z_threshold=2.5, warmup_steps=25):
    """Algorithm 1 of Kumar et al.: statistics of the warm-up from a list, then reciprocal clipping."""
    leaves, treedef = jax.tree.flatten(jax.tree.map(lambda g: np.array(g, np.float64), grads))
    norms, scales = [], []
    for t in range(len(leaves[0])):
        n = np.sqrt(sum(np.sum(g[t] ** 2) for g in leaves))
        kept = n
        if t < warmup_steps:
            norms.append(n)
            mean, var = np.mean(norms), np.mean((np.array(norms) - np.mean(norms)) ** 2)
        else:
            z = (n - mean) / np.sqrt(var)
            kept = mean + z_threshold**2 / z * np.sqrt(var) if z > z_threshold else n
            mean = alpha * mean + (1 - alpha) * kept
            var = alpha * var + (1 - alpha) * (kept - mean) ** 2
        scales.append(kept / n)
        for g in leaves:
            g[t] *= kept / n
    return jax.tree.unflatten(treedef, leaves), {"mean": mean, "var": var}, np.array(scales)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    twin, slots, scales = paper(entries.grads, **options)
    assert 0 < np.sum(scales < 1) < len(scales)
    tx = oc.clip_by_zscore(**options)
    ours, wide = run(tx, entries, -0.1), run_float64(tx, entries)
    # How far a spike is out is a difference of norms that are alike: their rounding counts several times.
    assert_agree(ours.updates, twin, 10 * SLOTS)
    assert_agree(ours.params, moved(entries.params, twin, -0.1), PARAMS)
    assert_agree(ours.state["mean"], slots["mean"], 10 * SLOTS)
    # With the tight threshold the variance sinks to 1e-6 of the mean: the rounding of norms makes 5.7e-5 of it.
    assert_agree(ours.state["var"], slots["var"], 20 * SLOTS)
    assert_agree(wide.updates, twin, 1e-5)  # with slots in float32


def fed(tx, norms):
    """The scales after a list of norms, and the state."""
    p = {"w": jnp.zeros(2)}
    state, scales = tx.init(p), []
    for n in norms:
        _, state = tx.update({"w": jnp.array([n, 0.0])}, state, p)
        scales.append(float(oc.metrics(state)["z.scale"]))
    return scales, state


def test_a_spike_is_brought_down_the_further_the_higher_it_is():
    usual = [1.0, 2.0] * 10
    found = {n: n * fed(oc.chain(z=oc.clip_by_zscore(warmup_steps=20)), [*usual, n])[0][-1] for n in (2.5, 5.0, 50.0)}
    assert found[2.5] == 2.5  # two standard deviations of 0.5 from the mean of 1.5
    np.testing.assert_allclose(found[5.0], 1.5 + 2.5**2 * 0.25 / 3.5, rtol=1e-5)
    np.testing.assert_allclose(found[50.0], 1.5 + 2.5**2 * 0.25 / 48.5, rtol=1e-5)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
@pytest.mark.parametrize("when", [3, 30])
def test_zero_and_what_is_not_finite_do_not_enter_the_history(bad, when):
    """One NaN would end all clipping, in the warm-up and after it."""
    tx, usual = oc.chain(z=oc.clip_by_zscore()), [1.0, 2.0] * 20
    _, clean = fed(tx, usual)
    _, state = fed(tx, [*usual[:when], bad, *usual[when:]])
    for name in ("mean", "var", "norms"):
        assert float(own(state["links"]["z"])[name]) == float(own(clean["links"]["z"])[name])


def test_a_nan_is_seen():
    tx, p = oc.clip_by_zscore(), {"w": jnp.zeros(2), "v": jnp.zeros(1)}
    u, _ = tx.update({"w": jnp.array([1.0, np.nan]), "v": jnp.ones(1)}, tx.init(p), p)
    assert np.isnan(u["w"][1])
