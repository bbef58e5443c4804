import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf
from curvatures import EVERY, estimates, run_torch_told, trained
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
ROUNDED = 3 * SLOTS  # 0.999 is 1.3e-8 larger in float32, which makes up to 1.6e-6 after 120 steps
OPTIONS = [{"eps": 1e-3}, {"b1": 0.8, "b2": 0.9, "eps": 1e-2, "hessian_power": 0.5}]


def paper(gs, hs, p, b1=0.9, b2=0.999, eps=1e-8, hessian_power=1.0, every=1):
    """Algorithm 1 of Yao et al., whose second mean counts the estimates that it has seen."""
    m, v, n = 0.0, 0.0, 0
    for t, (g, h) in enumerate(zip(gs, hs, strict=True)):
        m = b1 * m + (1 - b1) * g
        if t % every == 0:
            v, n = b2 * v + (1 - b2) * h**2, n + 1
        p = p + RATE * m / (1 - b1 ** (t + 1)) / (np.sqrt(v / (1 - b2**n)) ** hessian_power + eps)
    return {"params": p, "mu": m, "nu": v, "weight": np.asarray(1 - b2**n)}


@pytest.mark.parametrize("every", [1, EVERY])
@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options, every):
    params, state = trained(oc.adahessian(-RATE, **options), recorded, every)
    twin = by_leaf(paper, recorded.grads, estimates(recorded), recorded.params, every=every, **options)
    for slot in ("mu", "nu", "weight"):
        assert_agree(own(state["links"]["adahessian"])[slot], twin[slot], ROUNDED)
    assert_agree(params, twin["params"], PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    oracle = pytest.importorskip("pytorch_optimizer")
    theirs, slots = run_torch_told(
        lambda p: oracle.AdaHessian(p, lr=-RATE, eps=1e-3, weight_decay=0.0), recorded, every=1
    )
    params, state = trained(oc.adahessian(-RATE, eps=1e-3), recorded, every=1)
    assert_agree(own(state["links"]["adahessian"])["nu"], slots["exp_hessian_diag_sq"], ROUNDED)
    assert_agree(params, theirs, PARAMS)


@pytest.mark.parametrize("curvature, times", [(1e-4, 2.0), (1e-2, 1.01), (0.0, 1e4)])
def test_the_eps_of_the_authors_shortens_steps_of_small_curvature(curvature, times):
    """By as much as the docstring says."""
    g = jnp.ones(2)
    ours, theirs = (oc.scale_by_adahessian(eps=eps) for eps in (1e-8, 1e-4))
    u, v = (tx.update(g, tx.init(g), g, hessian=jnp.full(2, curvature))[0] for tx in (ours, theirs))
    np.testing.assert_allclose(u / v, times, rtol=2e-3)


def test_is_newtons_method_on_a_quadratic():
    curvature = jnp.array([1.0, 10.0, 100.0])
    loss = lambda p: jnp.sum(curvature * p**2) / 2  # noqa: E731
    tx = oc.adahessian(0.1, b1=0.0)
    p, state = jnp.ones(3), tx.init(jnp.ones(3))
    for seed in range(5):
        h = oc.hutchinson(loss, p, jax.random.key(seed))
        p, state = oc.apply(tx, jax.grad(loss)(p), state, p, hessian=h)
    np.testing.assert_allclose(p, 0.9**5, rtol=1e-5)


def test_before_the_first_estimate_it_is_momentum_and_power_0_stays_so():
    p = jnp.array([1.0, -2.0, 0.0])
    tx = oc.scale_by_adahessian(b1=0.0)
    u, state = tx.update(p, tx.init(p), p, hessian=None)
    assert u.tolist() == p.tolist() and float(own(state)["weight"]) == 0
    flat = oc.scale_by_adahessian(b1=0.0, hessian_power=0.0)
    u, _ = flat.update(p, flat.init(p), p, hessian=jnp.array([5.0, -7.0, 0.0]))
    np.testing.assert_allclose(u, p, rtol=1e-6)
