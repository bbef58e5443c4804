import chex
import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import repeated
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.95, "b2": 0.9, "eps": 1e-6, "eps_root": 1e-8}, {"warmup": 0.5}, {"b1": 0.99, "warmup": 1.0}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, warmup=0.0, momentum_decay=0.004, mean_decay=None):
    """Algorithm 2 of Dozat, with its schedule of momentum, and Adam's second mean; `mean_decay` is torch's variant."""
    m, n, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    mus = b1 * (1 - warmup * 0.96 ** (momentum_decay * np.arange(len(gs) + 2)))
    products = np.cumprod(mus[1:])
    for t, g in enumerate(gs, 1):
        own = mus[t] if mean_decay is None else mean_decay
        m = own * m + (1 - own) * g
        n = b2 * n + (1 - b2) * g**2
        m_hat = mus[t + 1] * m / (1 - products[t]) + (1 - mus[t]) * g / (1 - products[t - 1])
        updates.append(m_hat / (np.sqrt(n / (1 - b2**t) + eps_root) + eps))
    weight = np.full((), 1 - products[len(gs) - 1])
    return {"updates": np.stack(updates), "mu": m, "nu": n, "weight": weight}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    ours, twin = run(oc.scale_by_nadam(**options), recorded, RATE), by_leaf(paper, recorded.grads, **options)
    for slot in ("mu", "nu", "weight"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(recorded.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_nadam(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_the_plain_form_is_that_of_optax(entries, options):
    ours = run(oc.scale_by_nadam(**options), entries, RATE)
    twin = run_twin(optax.scale_by_adam(**options, nesterov=True), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_differs_from_torch_in_the_decay_of_the_mean(entries):
    """torch lets the mean decay by b1 at each step, not by the momentum of that step."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, _ = run_torch(lambda p: torch.optim.NAdam(p, lr=-RATE), entries)
    variant = by_leaf(paper, entries.grads, warmup=0.5, mean_decay=0.9)
    # torch keeps the product of the momenta in float32.
    assert_agree(moved(entries.params, variant["updates"], RATE), params, 2e-6)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run_float64(oc.scale_by_nadam(warmup=0.5), entries, RATE).params, params, 1e-3)


def test_the_first_steps_on_a_constant_gradient_are_units():
    given = repeated(0)
    signs = jax.tree.map(lambda g: np.sign(g), given.grads)
    for warmup in (0.0, 0.5):
        updates = run(oc.scale_by_nadam(b1=0.999, eps=1e-30, warmup=warmup), given).updates
        ones = jax.tree.map(lambda u: np.abs(u) >= 0.999, updates)
        assert all(jax.tree.leaves(jax.tree.map(np.all, ones)))
        chex.assert_trees_all_equal(jax.tree.map(jax.numpy.sign, updates), signs)
