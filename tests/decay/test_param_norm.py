import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc


def hyperball(gs, p, rate, b1=0.9, b2=0.999, eps=1e-8):
    """Wen et al.'s wrapper around Adam: both the update and the result have the norm that the matrix began with."""
    radius, m, v = np.sqrt(np.sum(p**2)), np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)
        moved = p - rate * radius * u / np.sqrt(np.sum(u**2))
        p = radius * moved / np.sqrt(np.sum(moved**2))
    return {"params": p}


@pytest.mark.parametrize("rate", [0.001, 0.02])
def test_a_chain_with_the_trust_ratio_agrees_with_the_paper(recorded_matrices, rate):
    given = recorded_matrices
    links = oc.scale_by_adam(), oc.scale_by_trust_ratio(), oc.scale_by_learning_rate(rate), oc.keep_params_norm()
    exact = by_leaf(hyperball, given.grads, given.params, rate=rate)["params"]
    assert_agree(run_float64(oc.chain(*links), given).params, exact, 1e-10)
    assert_agree(run(oc.chain(*links), given).params, exact, PARAMS)


def test_keeps_every_norm_that_is_not_zero_and_leaves_the_rest_alone(recorded):
    tx = oc.chain(oc.sgd(0.1, momentum=0.9), oc.keep_params_norm())
    after, plain = run(tx, recorded).params, run(oc.sgd(0.1, momentum=0.9), recorded).params
    for p, x, free in zip(*map(jax.tree.leaves, (recorded.params, after, plain)), strict=True):
        start = np.linalg.norm(p)
        if start:
            np.testing.assert_allclose(np.linalg.norm(x), start, rtol=1e-6)
            assert np.linalg.norm(x - p) > 0.1 * start
        else:
            np.testing.assert_allclose(x, free, rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_the_norm_does_not_drift_in_low_precision(dtype):
    p = jax.random.normal(jax.random.key(0), (16, 16)).astype(dtype)
    start = float(jnp.linalg.norm(p.astype(jnp.float32)))
    tx = oc.chain(oc.scale_by_learning_rate(0.05), oc.keep_params_norm())

    def step(carry, key):
        p, state = carry
        return oc.apply(tx, jax.random.normal(key, p.shape).astype(dtype), state, p), None

    (p, _), _ = jax.lax.scan(step, (p, tx.init(p)), jax.random.split(jax.random.key(1), 300))
    np.testing.assert_allclose(float(jnp.linalg.norm(p.astype(jnp.float32))), start, rtol=2e-3)


def test_layers_keep_norms_of_their_own():
    p, tx = {"layers": jnp.array([[3.0, 4.0], [0.3, 0.4]])}, oc.over_layers(oc.keep_params_norm(), "layers")
    u, _ = tx.update({"layers": jnp.ones((2, 2))}, tx.init(p), p)
    np.testing.assert_allclose(np.linalg.norm(p["layers"] + u["layers"], axis=1), [5.0, 0.5], rtol=1e-6)
