import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64

import optchain as oc
from optchain.core.walk import numbers_of

RATE = 0.01


def cautious_adam(gs, p, b1=0.9, b2=0.999, eps=1e-8):
    """Algorithm 1 of the paper around Adam, with the scaling of its section 2 (xi = 1)."""
    m, v = np.zeros_like(p), np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        u = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        phi = (u * g > 0).astype(float)
        p = p - RATE * u * phi * p.size / (phi.sum() + 1)
    return {"params": p, "mu": m}


def chained():
    return oc.chain(cautious=oc.cautious(oc.scale_by_adam()), lr=oc.scale_by_learning_rate(RATE))


def test_agrees_with_the_paper(recorded):
    ours, twin = run(chained(), recorded), by_leaf(cautious_adam, recorded.grads, recorded.params)
    assert_agree(ours.state["links"]["cautious"]["inner"]["scale_by_adam"]["mu"], twin["mu"], SLOTS)
    assert_agree(ours.params, twin["params"], PARAMS)


def test_is_exact_in_float64(recorded):
    twin = by_leaf(cautious_adam, recorded.grads, recorded.params)
    assert_agree(run_float64(chained(), recorded).params, twin["params"], 1e-12)


def test_an_update_that_agrees_everywhere_keeps_its_direction():
    g = {"w": jnp.array([1.0, -2.0, 3.0])}
    tx = oc.cautious(oc.scale(2.0))
    chex.assert_trees_all_close(tx.update(g, tx.init(g))[0], {"w": 1.5 * g["w"]})


def test_surrounds_any_transformation_with_its_numbers_and_state():
    params, g = {"w": jnp.ones(3)}, {"w": jnp.array([1.0, -1.0, 0.0])}
    theirs, ours = oc.cautious(optax.scale_by_adam()), oc.cautious(oc.scale_by_adam())
    found, wanted = (tx.update(g, tx.init(params), params)[0] for tx in (theirs, ours))
    chex.assert_trees_all_close(found, wanted, rtol=2e-5)  # optax computes 1 - b2**t in float32
    tx = oc.chain(cautious=oc.cautious(oc.scale_by_adam()))
    assert "cautious.b1" in numbers_of(tx)
    state = tx.init(params)
    _, state = tx.update(g, state, params, hyper={"cautious.b1": 0.5})
    np.testing.assert_allclose(state["links"]["cautious"]["inner"]["scale_by_adam"]["mu"]["w"], 0.5 * g["w"])


def test_entries_of_a_declared_layer_are_counted_in_the_layer():
    g = {"w": jnp.array([[1.0, 1.0], [1.0, 1.0]])}
    flips = optax.stateless(lambda u, p: {"w": u["w"] * jnp.array([[1.0, 1.0], [1.0, -1.0]])})
    both = oc.over_layers(oc.cautious(flips), "w")
    np.testing.assert_allclose(both.update(g, both.init(g))[0]["w"], [[2 / 3, 2 / 3], [1.0, 0.0]])
    one = oc.cautious(flips)
    np.testing.assert_allclose(one.update(g, one.init(g))[0]["w"], [[1.0, 1.0], [1.0, 0.0]])


def test_a_learning_rate_within_is_refused():
    with pytest.raises(ValueError, match=r"cautious: tx has the learning rate 'lr.learning_rate'; put it after"):
        oc.cautious(oc.adamw(1e-3))


def test_it_is_transparent_to_migration():
    params = {"w": jnp.ones(3)}
    plain = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1))
    _, state = plain.update(params, plain.init(params), params)
    edited = oc.chain(adam=oc.cautious(oc.scale_by_adam()), lr=oc.scale_by_learning_rate(0.1))
    moved, report = oc.migrate_state(state, edited, params)
    chex.assert_trees_all_equal(moved["links"]["adam"]["inner"], state["links"]["adam"])
    assert not report.changed and jax.tree.structure(moved) == jax.tree.structure(edited.init(params))
