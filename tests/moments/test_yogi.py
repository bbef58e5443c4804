import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import blank
from tiers import one_of_each
from torch_twin import run_torch
from whole_tree import vector

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4, "eps_root": 1e-6, "initial_accumulator_value": 1e-3}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-3, eps_root=0.0, initial_accumulator_value=1e-6, bias_correction=True):
    """Algorithm 2 of Zaheer et al., debiased on request as in optax."""
    m, v, updates = np.zeros(gs.shape[1:]), np.full(gs.shape[1:], initial_accumulator_value), []
    met = np.zeros(gs.shape[1:], bool)
    for t, g in enumerate(gs, 1):
        met |= abs(v - g**2) < 1e-5 * v
        m = b1 * m + (1 - b1) * g
        v = v - (1 - b2) * np.sign(v - g**2) * g**2
        mean, square = (m / (1 - b1**t), v / (1 - b2**t)) if bias_correction else (m, v)
        updates.append(mean / (np.sqrt(square + eps_root) + eps))
    return {"updates": np.stack(updates), "mu": m, "nu": v, "met": met}


@pytest.mark.parametrize("options", [*OPTIONS, {"bias_correction": False}], ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_yogi(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    # Where nu and the squared gradient all but met, float32 decides which way nu went: exact numbers are for float64.
    assert vector(twin["met"]).mean() < 0.02

    def apart(found, wanted):
        return jax.tree.map(lambda x, y, met: np.where(met, y, x), found, wanted, twin["met"])

    for slot in ("mu", "nu"):
        assert_agree(apart(ours.state[slot], twin[slot]), twin[slot], SLOTS)
    wanted = moved(entries.params, twin["updates"], RATE)
    assert_agree(apart(ours.params, wanted), wanted, PARAMS)


@pytest.mark.parametrize("options", [*OPTIONS, {"bias_correction": False}], ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.scale_by_yogi(**options), entries), by_leaf(paper, entries.grads, **options)
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax_from_a_mean_of_zero(entries, options):
    theirs = optax.scale_by_yogi(**options)

    def init(params):
        return theirs.init(params)._replace(mu=optax.tree.zeros_like(params))

    ours = run(oc.scale_by_yogi(**options), entries, RATE)
    twin = run_twin(optax.GradientTransformation(init, theirs.update), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


def test_an_entry_that_never_had_a_gradient_stays_and_moves_in_optax(entries):
    rested = vector(blank(entries)) == 1
    ours, theirs = (vector(run_twin(tx.scale_by_yogi(), entries).updates, 1) for tx in (oc, optax))
    assert rested.any() and np.all(ours[:, rested] == 0) and np.all(theirs[0][rested] > 0)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """Which begins the mean at the accumulator's value too: with both at 0 it is the same."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(lambda p: other.Yogi(p, lr=-RATE, initial_accumulator=0.0), entries)
    ours = run_float64(oc.scale_by_yogi(initial_accumulator_value=0.0), entries, RATE)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-11)
