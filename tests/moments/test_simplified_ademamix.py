import jax
import numpy as np
import optax
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import STEPS
from tiers import one_of_each

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.9, "b2": 0.9, "alpha": 5.0, "eps": 1e-4, "eps_root": 1e-6}]


def paper(gs, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0):
    """Simplified AdEMAMix of Morwani et al."""
    m, v, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + g
        v = b2 * v + (1 - b2) * g**2
        updates.append((m + alpha * g) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps))
    return {"updates": np.stack(updates), "mu": m, "nu": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = (
        run(oc.scale_by_simplified_ademamix(**options), entries, RATE),
        by_leaf(paper, entries.grads, **options),
    )
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = (
        run_float64(oc.scale_by_simplified_ademamix(**OPTIONS[1]), entries),
        by_leaf(paper, entries.grads, **OPTIONS[1]),
    )
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_simplified_ademamix(**options), entries, RATE)
    twin = run_twin(optax.contrib.scale_by_simplified_ademamix(**options), entries, RATE)
    for slot, theirs in (("mu", "m"), ("nu", "n")):
        assert_agree(ours.state[slot], getattr(twin.state, theirs), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_without_the_last_gradient_it_is_adam_with_other_rates(entries):
    """Adam's mean is 1 - b1 times the sum, and debiased."""
    ours = run_float64(oc.scale_by_simplified_ademamix(0.9, 0.999), entries).updates
    adam = run_float64(oc.scale_by_adam(0.9, 0.999), entries).updates
    factors = 0.1 / (1 - 0.9 ** np.arange(1, STEPS + 1))
    assert_agree(jax.tree.map(lambda u: u * factors.reshape(-1, *(1,) * (u.ndim - 1)), ours), adam, 1e-11)
