import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64
from techniques import own
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"initial_accumulator_value": 0.1, "eps": 1e-3}]


def paper(gs, initial_accumulator_value=0.0, eps=1e-8):
    """One accumulator for each row of the last axis."""
    total, updates = np.full(gs.shape[1:-1], initial_accumulator_value), []
    for g in gs:
        total = total + (g**2).sum(-1) / g.shape[-1]
        root = np.sqrt(total)[..., None] + eps
        updates.append(np.divide(g, root, out=np.zeros_like(g), where=g != 0))
    return {"updates": np.stack(updates), "sum_of_squares": total}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_loop(recorded, options):
    ours, twin = run(oc.scale_by_rowwise_adagrad(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    assert_agree(ours.state["sum_of_squares"], twin["sum_of_squares"], SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(recorded):
    ours, twin = run_float64(oc.scale_by_rowwise_adagrad(), recorded), by_leaf(paper, recorded.grads)
    assert_agree(ours.updates, twin["updates"], 1e-12)


def test_rows_of_one_number_are_those_of_adagrad():
    params, grads = {"w": jnp.ones((5, 1))}, {"w": jax.random.normal(jax.random.key(0), (5, 1))}
    rows, each = oc.scale_by_rowwise_adagrad(0.0, 1e-8), oc.scale_by_rss(0.0, 1e-8, eps_in_sqrt=False)
    for tx in (rows, each):
        assert own(tx.init(params))["sum_of_squares"]["w"].size == 5
    a, b = (tx.update(grads, tx.init(params), params)[0] for tx in (rows, each))
    chex.assert_trees_all_close(a, b, rtol=1e-6)
