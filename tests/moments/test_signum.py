import chex
import jax
import numpy as np
import optax
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64, run_twin
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [{}, {"beta": 0.8}]


def paper(gs, beta=0.9):
    """Algorithm 2 of Bernstein et al."""
    m, updates, means = np.zeros(gs.shape[1:]), [], []
    for g in gs:
        m = beta * m + (1 - beta) * g
        updates.append(np.sign(m))
        means.append(m)
    return {"updates": np.stack(updates), "mu": m, "means": np.stack(means)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper_and_optax(entries, options):
    """But for ties: a sign may differ only where the mean is 0 within rounding, and that is rare."""
    ours, twin = run(oc.scale_by_signum(**options), entries), by_leaf(paper, entries.grads, **options)
    mean = optax.ema(options.get("beta", 0.9), debias=False)
    theirs = run_twin(optax.chain(mean, optax.scale_by_sign()), entries)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["mu"], theirs.state[0].ema, SLOTS)
    for other in (twin["updates"], theirs.updates):
        for u, v, m in zip(*(jax.tree.leaves(x) for x in (ours.updates, other, twin["means"])), strict=True):
            flipped = np.asarray(u) != np.asarray(v)
            assert np.mean(flipped) < 1e-4
            assert np.all(np.abs(m[flipped]) <= 1e-6 * np.max(np.abs(m)))


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_signum(), entries), by_leaf(paper, entries.grads)
    chex.assert_trees_all_equal(ours.updates, twin["updates"])


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, _ = run_torch(lambda p: other.SignSGD(p, lr=0.001, momentum=0.9), entries)
    assert_agree(run_float64(oc.scale_by_signum(), entries, -0.001).params, params, 1e-11)
