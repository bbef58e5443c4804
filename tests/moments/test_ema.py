import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import repeated
from tiers import one_of_each

import optchain as oc

RATE = -0.1
OPTIONS = [{"decay": 0.9}, {"decay": 0.99, "debias": False}, {"decay": 0.0}]


def paper(gs, decay, debias=True):
    """The first mean of Adam."""
    mean, updates = 0.0, []
    for t, g in enumerate(gs, 1):
        mean = decay * mean + (1 - decay) * g
        updates.append(mean / (1 - decay**t) if debias else mean)
    return {"updates": np.stack(updates), "mu": mean}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper_and_with_optax(entries, options):
    ours, twin = run(oc.ema(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)
    theirs = run_twin(optax.ema(**options), entries, RATE)
    assert_agree(ours.state["mu"], theirs.state.ema, SLOTS)
    assert_agree(ours.params, theirs.params, PARAMS)


def test_is_exact_in_float64(entries):
    ours = run_float64(oc.ema(0.9), entries)
    assert_agree(ours.updates, by_leaf(paper, entries.grads, decay=0.9)["updates"], 1e-12)


def test_debiased_it_leaves_a_constant_alone():
    given = repeated(0)
    assert_agree(run(oc.ema(0.95), given).updates, given.grads, 1e-6)
    first = jax.tree.map(lambda u: u[0], run(oc.ema(0.95, debias=False), given).updates)
    assert_agree(first, jax.tree.map(lambda g: 0.05 * g[0], given.grads), 1e-6)
