import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"rho": 0.99, "eps": 1e-4}, {"rho": 0.0}]


def paper(gs, rho=0.9, eps=1e-6):
    """Algorithm 1 of Zeiler."""
    e_g, e_x, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    for g in gs:
        e_g = rho * e_g + (1 - rho) * g**2
        updates.append(np.sqrt(e_x + eps) / np.sqrt(e_g + eps) * g)
        e_x = rho * e_x + (1 - rho) * updates[-1] ** 2
    return {"updates": np.stack(updates), "e_g": e_g, "e_x": e_x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adadelta(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("e_g", "e_x"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_adadelta(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_adadelta(**options), entries, RATE)
    twin = run_twin(optax.scale_by_adadelta(**options), entries, RATE)
    for slot in ("e_g", "e_x"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.Adadelta(p, lr=-RATE, rho=0.9, eps=1e-6), entries)
    ours = run_float64(oc.scale_by_adadelta(**OPTIONS[0]), entries, RATE)
    assert_agree(ours.state["e_g"], slots["square_avg"], 1e-12)
    assert_agree(ours.state["e_x"], slots["acc_delta"], 1e-12)
    assert_agree(ours.params, params, 1e-11)


def test_without_eps_nothing_moves(entries):
    """The first update is 0, and so are all that are measured by it; not NaN where there never was a gradient."""
    for u in jax.tree.leaves(run(oc.scale_by_adadelta(eps=0.0), entries).updates):
        assert np.all(np.asarray(u) == 0)


def test_its_squares_bear_8_bits_and_not_4():
    with pytest.raises(ValueError, match="the slot 'e_x' of scale_by_adadelta is a sum and bears int8, not int4"):
        oc.precision(oc.scale_by_adadelta(), slots={"e_x": "int4"})
    assert str(oc.precision(oc.scale_by_adadelta(), slots="int4").link.storage) == "e_g:int8 e_x:int8"
