import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc
from optchain.core.walk import numbers_of

RATE = 0.01


def grafted(gs, p, b1=0.9, b2=0.999, eps=1e-8, start=0.1, tiny=1e-7):
    """Algorithm 1 of the paper for one leaf: the step length of Adam on the direction of Adagrad."""
    m, v, h = np.zeros_like(p), np.zeros_like(p), np.full_like(p, start)
    for t, g in enumerate(gs, 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        magnitude = (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps)
        h = h + g**2
        direction = g / np.sqrt(h + tiny)
        p = p - RATE * np.linalg.norm(magnitude) / np.linalg.norm(direction) * direction
    return {"params": p}


def chained():
    graft = oc.graft(oc.scale_by_adam(), direction=oc.scale_by_rss())
    return oc.chain(graft=graft, lr=oc.scale_by_learning_rate(RATE))


def test_agrees_with_the_paper(recorded):
    twin = by_leaf(grafted, recorded.grads, recorded.params)["params"]
    assert_agree(run(chained(), recorded).params, twin, PARAMS)


def test_is_exact_in_float64(recorded):
    twin = by_leaf(grafted, recorded.grads, recorded.params)["params"]
    assert_agree(run_float64(chained(), recorded).params, twin, 1e-12)


@pytest.mark.parametrize("size", [0.0, 1e-30, 1.0, 1e30])
def test_any_size_keeps_the_norm(size):
    """In float32 the squares of 1e-30 and 1e30 are 0 and infinite."""
    g = {"w": jnp.array([3.0, 4.0]) * size}
    tx = oc.graft(oc.scale(2.0), oc.scale(0.5))
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0]["w"], 2 * g["w"], rtol=1e-6)


def test_a_direction_of_zero_stays():
    g = {"w": jnp.ones(3)}
    tx = oc.graft(oc.scale(2.0), oc.scale(0.0))
    np.testing.assert_array_equal(tx.update(g, tx.init(g))[0]["w"], 0)


def test_numbers_of_both_are_overridden_by_name():
    g = {"w": jnp.array([3.0, 4.0])}
    tx = oc.chain(graft=oc.graft(oc.scale(1.0), oc.trace(0.5)))
    assert numbers_of(tx) == ["graft.decay", "graft.magnitude.step_size"]
    updates, _ = jax.jit(tx.update)(g, tx.init(g), g, hyper={"graft.magnitude.step_size": 5.0, "graft.decay": 0.1})
    np.testing.assert_allclose(updates["w"], 5 * g["w"], rtol=1e-6)
    with pytest.raises(ValueError, match="no number 'graft.magnitude.step_sise'; did you mean"):
        tx.update(g, tx.init(g), g, hyper={"graft.magnitude.step_sise": 5.0})


def test_the_table_shows_both():
    text = str(oc.chain(graft=oc.graft(oc.scale_by_adam(), oc.scale_by_rss())))
    assert "scale_by_adam" in text and "scale_by_rss" in text and "magnitude" in text


def test_a_name_that_is_taken_is_refused():
    with pytest.raises(ValueError, match="graft: a link of tx is called 'magnitude'"):
        oc.graft(oc.scale(1.0), oc.chain(magnitude=oc.scale(1.0)))
    with pytest.raises(ValueError, match="graft: magnitude must be a gradient transformation, got 3"):
        oc.graft(3, oc.scale(1.0))


def test_both_states_migrate():
    params = {"w": jnp.ones(3)}
    old = oc.chain(graft=oc.graft(oc.scale_by_adam(), oc.scale_by_rss()))
    _, state = old.update(params, old.init(params), params)
    moved, report = oc.migrate_state(state, oc.accumulate(old, 2), params)
    chex.assert_trees_all_equal(oc.without_metrics(moved["inner"]), oc.without_metrics(state))
    assert report.created == ("(accumulate)",) and not report.dropped
