import jax.numpy as jnp
import numpy as np
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc

RATE, DECAY = 0.01, 0.1


def adamw(gs, p, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 1 of the paper around Adam."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        p = p - RATE * (u + DECAY * (u * p >= 0) * p)
    return {"params": p}


def chained():
    decay = oc.add_cautious_decayed_weights(DECAY)
    return oc.chain(oc.scale_by_adam(), decay, oc.scale_by_learning_rate(RATE))


def test_agrees_with_the_paper(entries):
    assert_agree(run(chained(), entries).params, by_leaf(adamw, entries.grads, entries.params)["params"], PARAMS)


def test_is_exact_in_float64(entries):
    twin = by_leaf(adamw, entries.grads, entries.params)["params"]
    assert_agree(run_float64(chained(), entries).params, twin, 1e-12)


def test_decays_where_the_signs_are_the_same_or_the_update_is_zero():
    p = {"w": jnp.array([2.0, 2.0, 2.0, -2.0, 1e-30, 1e-30])}
    g = {"w": jnp.array([1.0, -1.0, 0.0, -1.0, 1e-30, -1e-30])}
    tx = oc.add_cautious_decayed_weights(0.5)
    found = tx.update(g, tx.init(p), p)[0]["w"]
    np.testing.assert_allclose(found, [2.0, -1.0, 1.0, -2.0, 1.5e-30, -1e-30], rtol=1e-6)
