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

RATE = -0.01
OPTIONS = [
    {},
    {"initial_accumulator_value": 0.0, "eps": 1e-10, "eps_in_sqrt": False},
    {"initial_accumulator_value": 0.0, "eps": 0.0, "eps_in_sqrt": False},
    {"initial_accumulator_value": 2.0, "eps": 1e-3},
]


def paper(gs, initial_accumulator_value=0.1, eps=1e-7, eps_in_sqrt=True):
    """The diagonal form of Figure 1 of Duchi, Hazan and Singer; an entry without a gradient so far stays."""
    total, updates = np.full(gs.shape[1:], initial_accumulator_value), []
    for g in gs:
        total = total + g**2
        root = np.sqrt(total + eps) if eps_in_sqrt else np.sqrt(total) + eps
        updates.append(np.divide(g, root, out=np.zeros_like(g), where=g != 0))
    return {"updates": np.stack(updates), "sum_of_squares": total}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_rss(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.state["sum_of_squares"], twin["sum_of_squares"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


@pytest.mark.parametrize("options", [OPTIONS[0], OPTIONS[3]], ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_rss(**options), entries, RATE)
    twin = run_twin(optax.scale_by_rss(**options), entries, RATE)
    assert_agree(ours.state["sum_of_squares"], twin.state.sum_of_squares, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch_from_its_own_start(entries):
    """torch starts at 0 with eps outside the root; our defaults, which are optax's, move the parameters less."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.Adagrad(p, lr=-RATE), entries)
    ours = run(oc.scale_by_rss(**OPTIONS[1]), entries, RATE)
    assert_agree(ours.state["sum_of_squares"], slots["sum"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


def test_a_larger_start_makes_smaller_steps(entries):
    small, large = (run(oc.scale_by_rss(x), entries).updates for x in (0.0, 0.1))
    for a, b in zip(jax.tree.leaves(small), jax.tree.leaves(large), strict=True):
        assert np.all(np.abs(a) >= np.abs(b)) and np.any(np.abs(a) > 2 * np.abs(b))


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_rss(**options), entries), by_leaf(paper, entries.grads, **options)
    assert ours.state["sum_of_squares"]["digits"]["out"]["kernel"].dtype == np.float64
    assert_agree(ours.state["sum_of_squares"], twin["sum_of_squares"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_slows_as_the_root_of_the_step_on_a_constant_gradient(seed):
    given = repeated(seed)
    law = by_leaf(lambda gs: {"u": np.sign(gs) / np.sqrt(np.cumsum(np.ones_like(gs), 0))}, given.grads)["u"]
    assert_agree(run(oc.scale_by_rss(0.0, 0.0), given).updates, law, 2e-6)


@pytest.mark.parametrize("seed", range(3))
def test_forgets_the_units_of_the_gradient(seed):
    tx, given = oc.scale_by_rss(0.0, 0.0), drawn(seed)
    chex.assert_trees_all_equal(run(tx, given).updates, run(tx, scaled(given, 2.0**10)).updates)
