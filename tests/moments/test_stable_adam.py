import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import STEPS
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
ROUNDED = 3 * SLOTS  # 0.999 is 1.3e-8 larger in float32, which makes up to 1.6e-6 after 120 steps
OPTIONS = [{}, {"b1": 0.8, "b2": 0.999, "eps": 1e-4, "weight_decay": 0.1}]


def paper(gs, p, b1=0.9, b2=0.99, eps=1e-6, weight_decay=0.0):
    """Algorithm 2 of Wortsman et al., which keeps debiased means; and how often it clips."""
    v, u, clipped = 0.0, 0.0, 0
    for t, g in enumerate(gs, 1):
        b1_hat, b2_hat = b1 * (1 - b1 ** (t - 1)) / (1 - b1**t), b2 * (1 - b2 ** (t - 1)) / (1 - b2**t)
        v = b1_hat * v + (1 - b1_hat) * g
        u = b2_hat * u + (1 - b2_hat) * g**2
        rms = np.sqrt(np.mean(g**2 / np.maximum(u, eps**2)))
        rate = RATE / max(1.0, rms)
        p = p + rate * weight_decay * p + rate * v / (np.sqrt(u) + eps)
        clipped += rms > 1
    return {"mu": v * (1 - b1**t), "nu": u * (1 - b2**t), "params": p, "clipped": np.asarray(clipped)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours = run(oc.scale_by_stable_adam(**options), recorded, RATE)
    twin = by_leaf(paper, recorded.grads, recorded.params, **options)
    assert all(0 < n < STEPS for n in jax.tree.leaves(twin["clipped"]))
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], ROUNDED)
    assert_agree(ours.params, twin["params"], PARAMS)


def test_is_exact_in_float64(recorded):
    ours = run_float64(oc.scale_by_stable_adam(**OPTIONS[1]), recorded, RATE)
    assert_agree(ours.params, by_leaf(paper, recorded.grads, recorded.params, **OPTIONS[1])["params"], 1e-12)


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_pytorch_optimizer(recorded, options):
    oracle = pytest.importorskip("pytorch_optimizer")
    given = {"betas": (0.9, 0.99), "eps": 1e-6, "weight_decay": 0.0} | options
    given["betas"] = (given.pop("b1", 0.9), given.pop("b2", 0.99))
    params, _ = run_torch(lambda p: oracle.StableAdamW(p, lr=-RATE, kahan_sum=False, **given), recorded)
    assert_agree(run(oc.scale_by_stable_adam(**options), recorded, RATE).params, params, PARAMS)


def test_a_sudden_gradient_makes_no_larger_step_than_its_moments_allow():
    """Adam's update on a leaf whose gradients grow a hundredfold, and this one's."""
    p, quiet, loud = jnp.zeros(4), jnp.full(4, 0.01), jnp.array([1.0, -1.0, 1.0, 1.0])
    steps = {}
    for name, tx in {"adam": oc.scale_by_adam(b2=0.99), "stable": oc.scale_by_stable_adam(eps=1e-8)}.items():
        state = tx.init(p)
        for _ in range(50):
            _, state = tx.update(quiet, state, p)
        steps[name], _ = tx.update(loud, state, p)
    nu = ((1 - 0.99**50) * 1e-4 * 0.99 + 0.01) / (1 - 0.99**51)
    np.testing.assert_allclose(steps["adam"] / steps["stable"], 1 / np.sqrt(nu), rtol=1e-4)
    assert 1 / np.sqrt(nu) > 6
