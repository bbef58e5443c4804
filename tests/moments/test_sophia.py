import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf
from curvatures import EVERY, estimates, run_torch_told, trained
from recorded_gradients import joined, parted
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.9, "b2": 0.9, "eps": 1e-3, "gamma": 0.5, "clip_threshold": 0.3}]


def paper(gs, hs, p, b1=0.965, b2=0.99, eps=1e-8, gamma=0.01, clip_threshold=1.0):
    """Algorithm 3 of Liu et al."""
    m, h = 0.0, 0.0
    for t, (g, estimate) in enumerate(zip(gs, hs, strict=True)):
        m = b1 * m + (1 - b1) * g
        if t % EVERY == 0:
            h = b2 * h + (1 - b2) * estimate
        p = p + RATE * np.clip(m / np.maximum(gamma * h, eps), -clip_threshold, clip_threshold)
    return {"params": p, "mu": m, "h": h}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    params, state = trained(oc.sophia(-RATE, weight_decay=0.0, **options), entries)
    twin = by_leaf(paper, entries.grads, estimates(entries), entries.params, **options)
    assert_agree(own(state["links"]["sophia"])["mu"], twin["mu"], SLOTS)
    assert_agree(own(state["links"]["sophia"])["h"], twin["h"], SLOTS)
    assert_agree(params, twin["params"], PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """It clips m / h at p: with gamma in our threshold and rate it is the same."""
    oracle = pytest.importorskip("pytorch_optimizer")
    arguments = {"betas": (0.9, 0.9), "p": 0.01, "eps": 1e-3, "weight_decay": 0.0, "update_period": 10**9}
    theirs, slots = run_torch_told(lambda p: oracle.SophiaH(p, lr=-RATE, **arguments), entries)
    tx = oc.chain(oc.scale_by_sophia(0.9, 0.9, eps=1e-3, gamma=1.0, clip_threshold=0.01), oc.scale(RATE))
    params, state = trained(tx, entries)
    assert_agree(own(state["links"]["scale_by_sophia"])["h"], slots["hessian_moment"], SLOTS)
    assert_agree(params, theirs, PARAMS)


def test_agrees_with_optax_but_for_its_debiasing_and_its_order(entries):
    """Without b1 nothing is debiased, and with the first estimate in the state both divide by the same h."""
    options = {"b1": 0.0, "b2": 0.9, "eps": 1e-3, "gamma": 0.5}
    (params, grads), (_, hs) = joined(entries), joined(entries._replace(grads=estimates(entries)))
    g, h = (jax.tree.map(lambda x: x[0], tree) for tree in (grads, hs))
    given = optax.GradientTransformationExtraArgs(lambda p: (), lambda u, s, p=None, **extra: (h, s))
    theirs = optax.contrib.sophia(-1.0, weight_decay=0.0, update_interval=10**6, hessian_diagonal_fn=given, **options)
    ours = oc.scale_by_sophia(**options)
    _, told = theirs.update(g, theirs.init(params), params)
    first, state = ours.update(g, ours.init(params), params, hessian=h)
    chex.assert_trees_all_close(own(state)["h"], told[0].nu, rtol=1e-6)
    second, _ = theirs.update(g, told, params)
    assert_agree(parted(first, entries), parted(second, entries), SLOTS)


def test_divides_by_the_curvature_of_the_loss():
    """Newton's step, from its own estimates, where nothing is clipped: every coordinate shrinks alike."""
    curvature = jnp.array([1.0, 10.0, 100.0])
    loss = lambda p: jnp.sum(curvature * p**2) / 2  # noqa: E731
    tx = oc.sophia(0.1, b1=0.0, b2=0.0, gamma=1.0, clip_threshold=100.0, weight_decay=0.0)
    p, state = jnp.ones(3), tx.init(jnp.ones(3))
    for seed in range(5):
        h = oc.hutchinson(loss, p, jax.random.key(seed))
        p, state = oc.apply(tx, jax.grad(loss)(p), state, p, hessian=h)
    np.testing.assert_allclose(p, 0.9**5, rtol=1e-5)


def test_without_an_estimate_the_curvature_stays_and_steps_are_signs():
    tx, p = oc.scale_by_sophia(), jnp.ones(3)
    state = tx.init(p)
    u, state = tx.update(jnp.array([1.0, -1.0, 0.0]), state, p, hessian=None)
    assert u.tolist() == [1.0, -1.0, 0.0] and not np.any(own(state)["h"])
    _, state = tx.update(p, state, p, hessian=p)
    _, after = tx.update(p, state, p, hessian=None)
    np.testing.assert_array_equal(own(after)["h"], own(state)["h"])
    with pytest.raises(ValueError, match="has shape"):
        tx.update(p, state, p, hessian=jnp.ones((2, 2)))
