import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn, repeated, scaled
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    """Algorithm 1 of Kingma and Ba, with a second epsilon."""
    m, v, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        v = b2 * v + (1 - b2) * g**2
        m_hat = m / (1 - b1**t)
        v_hat = v / (1 - b2**t)
        updates.append(m_hat / (np.sqrt(v_hat + eps_root) + eps))
    return {"updates": np.stack(updates), "mu": m, "nu": v}


OPTIONS = [
    {},
    {"b1": 0.0, "b2": 0.9, "eps": 1e-3},
    {"b1": 0.95, "b2": 0.95, "eps_root": 1e-6},
    {"b1": 0.9, "b2": 0.99999, "eps": 1e-12},
]


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adam(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.state["nu"], twin["nu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:3], ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_adam(**options), entries, RATE)
    twin = run_twin(optax.scale_by_adam(**options), entries, RATE)
    assert_agree(ours.state["mu"], twin.state.mu, SLOTS)
    assert_agree(ours.state["nu"], twin.state.nu, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_debiases_more_exactly_than_optax(entries):
    """optax computes 1 - b2**t in float32, where the difference loses digits as long as b2**t is near 1."""
    first = entries._replace(grads=jax.tree.map(lambda g: g[:1], entries.grads))
    exact = by_leaf(paper, first.grads)["updates"]
    assert_agree(run(oc.scale_by_adam(), first).updates, exact, 3e-7)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run_twin(optax.scale_by_adam(), first).updates, exact, 2e-6)


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_agrees_with_torch(entries, options):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    betas, eps = (options.get("b1", 0.9), options.get("b2", 0.999)), options.get("eps", 1e-8)
    params, slots = run_torch(lambda p: torch.optim.Adam(p, lr=-RATE, betas=betas, eps=eps), entries)
    ours = run(oc.scale_by_adam(**options), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], SLOTS)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_adam(**options), entries), by_leaf(paper, entries.grads, **options)
    chex.assert_trees_all_equal_dtypes(ours.state["nu"], twin["nu"])
    assert_agree(ours.state["mu"], twin["mu"], 1e-12)
    assert_agree(ours.state["nu"], twin["nu"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_takes_unit_steps_on_a_constant_gradient(seed):
    given = repeated(seed)
    signs = jax.tree.map(lambda g: np.sign(g), given.grads)
    assert_agree(run(oc.scale_by_adam(eps=1e-30), given).updates, signs, 2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_the_gradient(seed):
    tx, given = oc.scale_by_adam(eps=0.0), drawn(seed)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)


@pytest.mark.parametrize("seed", range(3))
def test_is_odd_in_the_gradient(seed):
    given = drawn(seed)
    mirrored = jax.tree.map(lambda u: -u, run(oc.scale_by_adam(), scaled(given, -1.0)).updates)
    chex.assert_trees_all_equal(run(oc.scale_by_adam(), given).updates, mirrored)


def test_without_eps_an_entry_that_never_had_a_gradient_stays():
    tx, p = oc.scale_by_adam(eps=0.0), jnp.zeros(2)
    updates, _ = tx.update(jnp.array([0.0, 1e-25]), tx.init(p))
    # The square of 1e-25 is 0 in float32: it is divided by the root of the smallest normal number.
    np.testing.assert_allclose(updates, [0.0, 1e-25 / 2.0**-63], rtol=1e-6)
