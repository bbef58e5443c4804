import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import STEPS, scaled
from torch_twin import run_torch

import optchain as oc

PEAK, DECAY = 0.02, 0.1
SCHEDULE = oc.linear(PEAK, 0.0, STEPS)


def adamc(gs, p, b1=0.9, b2=0.999, eps=1e-8):
    """AdamC, Algorithm 2 of the paper, for a normalized layer, with a rate that falls to 0 on a line."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        rate = PEAK * (1 - (t - 1) / STEPS)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - rate * u - rate**2 / PEAK * DECAY * p
    return {"params": p}


def chained(rate=SCHEDULE):
    decay = oc.add_corrected_decayed_weights(DECAY, rate, PEAK)
    return oc.chain(adam=oc.scale_by_adam(), decay=decay, lr=oc.scale_by_learning_rate(rate))


def test_agrees_with_the_paper(entries):
    assert_agree(run(chained(), entries).params, by_leaf(adamc, entries.grads, entries.params)["params"], PARAMS)


def test_is_exact_in_float64_but_for_the_schedule(entries):
    """A schedule is float32: 6e-8 of each step."""
    twin = by_leaf(adamc, entries.grads, entries.params)["params"]
    assert_agree(run_float64(chained(), entries).params, twin, 1e-6)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """Its second moment has 1e-15 added, which gradients a million times as large do not see."""
    given = scaled(entries, 1e6)
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    params, _ = run_torch(lambda p: optimizers.AdamC(p, lr=PEAK, weight_decay=DECAY), given)
    assert_agree(run(chained(PEAK), given).params, params, PARAMS)


def test_at_the_peak_it_is_ordinary_decay():
    p, g = {"w": jnp.array([1.0, -2.0])}, {"w": jnp.ones(2)}
    found, plain = oc.add_corrected_decayed_weights(0.3, 0.1, 0.1), oc.add_decayed_weights(0.3)
    np.testing.assert_allclose(found.update(g, found.init(p), p)[0]["w"], plain.update(g, plain.init(p), p)[0]["w"])
