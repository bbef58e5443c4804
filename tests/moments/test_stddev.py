import chex
import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn, repeated, scaled
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.001
OPTIONS = [
    {},
    {"decay": 0.95, "eps": 1e-4},
    {"decay": 0.99, "eps": 1e-3, "eps_in_sqrt": False},
    {"initial_scale": 1.0, "decay": 0.5},
    # The first debiased variance is exactly 0: what rounding leaves of it must stay small beside eps.
    {"eps": 1e-3, "bias_correction": True},
]


def paper(gs, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Equations 38 to 40 of Graves, without his momentum."""
    mu, nu, updates = np.zeros(gs.shape[1:]), np.full(gs.shape[1:], initial_scale), []
    for t, g in enumerate(gs, 1):
        mu = decay * mu + (1 - decay) * g
        nu = decay * nu + (1 - decay) * g**2
        weight = 1 - decay**t if bias_correction else 1
        # The exact variance is not negative; in floating point it may be.
        variance = np.maximum(nu / weight - (mu / weight) ** 2, 0)
        updates.append(g / (np.sqrt(variance + eps) if eps_in_sqrt else np.sqrt(variance) + eps))
    return {"updates": np.stack(updates), "mu": mu, "nu": nu}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_stddev(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], SLOTS)
    # The variance of a byte's logit is hardly more than 0 for a while: its rounding makes 2.9e-5 of the head.
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), 2 * PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_stddev(**options), entries, RATE)
    twin = run_twin(optax.scale_by_stddev(**options), entries, RATE)
    assert_agree(ours.state["mu"], twin.state.mu, SLOTS)
    assert_agree(ours.state["nu"], twin.state.nu, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    """torch adds eps outside the root."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.RMSprop(p, -RATE, alpha=0.99, eps=1e-3, centered=True), entries)
    ours = run(oc.scale_by_stddev(**OPTIONS[2]), entries, RATE)
    assert_agree(ours.state["mu"], slots["grad_avg"], SLOTS)
    assert_agree(ours.state["nu"], slots["square_avg"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_stddev(**options), entries), by_leaf(paper, entries.grads, **options)
    assert ours.state["nu"]["digits"]["out"]["kernel"].dtype == np.float64
    assert_agree(ours.state["mu"], twin["mu"], 1e-12)
    assert_agree(ours.state["nu"], twin["nu"], 1e-12)
    # The difference of two nearly equal squares loses digits.
    assert_agree(ours.updates, twin["updates"], 1e-9)


@pytest.mark.parametrize("seed", range(3))
def test_stays_finite_where_rounding_makes_the_variance_negative(seed):
    """A constant gradient has no variance; what rounding leaves of it is negative at some steps, and counts as 0."""
    given, eps = repeated(seed, steps=100), 1e-8
    ours = run(oc.scale_by_stddev(0.5, eps), given)
    chex.assert_tree_all_finite(ours.updates)
    longest = jax.tree.map(lambda g: np.abs(g[0]) / np.sqrt(eps), given.grads)
    for u, bound in zip(jax.tree.leaves(ours.updates), jax.tree.leaves(longest), strict=True):
        assert np.all(np.abs(u) <= bound * (1 + 1e-6))
    twin = run_twin(optax.scale_by_stddev(0.5, 0.0), given)
    assert not all(np.all(np.isfinite(u)) for u in jax.tree.leaves(twin.updates))


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_the_gradient(seed):
    tx, given = oc.scale_by_stddev(eps=0.0), drawn(seed)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)
