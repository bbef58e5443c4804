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
    {"decay": 0.99, "eps": 1e-4, "eps_in_sqrt": False},
    {"decay": 0.5, "initial_scale": 1.0},
    {"bias_correction": True},
    {"decay": 0.99, "eps": 1e-6, "eps_in_sqrt": False, "bias_correction": True},
    {"eps": 0.0},
]


def lecture(gs, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False):
    """Tieleman and Hinton's running mean of squares; an entry without a gradient stays."""
    nu, updates = np.full(gs.shape[1:], initial_scale), []
    for t, g in enumerate(gs, 1):
        nu = decay * nu + (1 - decay) * g**2
        square = nu / (1 - decay**t) if bias_correction else nu
        root = np.sqrt(square + eps) if eps_in_sqrt else np.sqrt(square) + eps
        updates.append(np.divide(g, root, out=np.zeros_like(g), where=g != 0))
    return {"updates": np.stack(updates), "nu": nu}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_lecture(entries, options):
    ours, twin = run(oc.scale_by_rms(**options), entries, RATE), by_leaf(lecture, entries.grads, **options)
    assert_agree(ours.state["nu"], twin["nu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:5], ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_rms(**options), entries, RATE)
    twin = run_twin(optax.scale_by_rms(**options), entries, RATE)
    assert_agree(ours.state["nu"], twin.state.nu, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    """torch adds eps outside the root."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.RMSprop(p, lr=-RATE, alpha=0.99, eps=1e-4), entries)
    ours = run(oc.scale_by_rms(**OPTIONS[1]), entries, RATE)
    assert_agree(ours.state["nu"], slots["square_avg"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


def test_eps_inside_and_outside_the_root_are_two_algorithms(entries):
    """Inside, eps counts in the units of g**2: an eps of 1e-4 bounds the root by 1e-2, not by 1e-4."""
    inside, outside = (run(oc.scale_by_rms(eps=1e-4, eps_in_sqrt=x), entries).updates for x in (True, False))
    for a, b in zip(jax.tree.leaves(inside), jax.tree.leaves(outside), strict=True):
        assert np.all(np.abs(a) <= np.abs(b)) and np.any(np.abs(a) < np.abs(b) / 2)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_rms(**options), entries), by_leaf(lecture, entries.grads, **options)
    assert ours.state["nu"]["digits"]["out"]["kernel"].dtype == np.float64
    assert_agree(ours.state["nu"], twin["nu"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_approaches_unit_steps_on_a_constant_gradient(seed):
    """Without bias correction the first step is 1 / sqrt(1 - b) long; with it every step is 1 long."""
    given, b = repeated(seed), 0.9
    weights = 1 / np.sqrt(1 - b ** np.arange(1, 21))
    law = by_leaf(lambda gs: {"u": np.sign(gs) * weights.reshape(-1, *(1,) * (gs.ndim - 1))}, given.grads)["u"]
    assert_agree(run(oc.scale_by_rms(b, 0.0), given).updates, law, 2e-6)
    signs = jax.tree.map(np.sign, given.grads)
    assert_agree(run(oc.scale_by_rms(b, 0.0, bias_correction=True), given).updates, signs, 2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_the_gradient(seed):
    tx, given = oc.scale_by_rms(eps=0.0), drawn(seed)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)
