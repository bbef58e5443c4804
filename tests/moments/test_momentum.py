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
OPTIONS = [{"decay": 0.9}, {"decay": 0.99, "nesterov": True}, {"decay": 0.0}, {"decay": 0.0, "nesterov": True}]


def velocity(gs, decay, nesterov=False):
    """Polyak's heavy ball; Sutskever's form of Nesterov's acceleration, in the variables of the look-ahead point."""
    m, updates = np.zeros(gs.shape[1:]), []
    for g in gs:
        m = decay * m + g
        updates.append(g + decay * m if nesterov else m)
    return {"updates": np.stack(updates), "trace": m}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.trace(**options), entries, RATE), by_leaf(velocity, entries.grads, **options)
    assert_agree(ours.state["trace"], twin["trace"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_looks_ahead_as_nesterov_does():
    """On a quadratic the gradient at the look-ahead point, in the original variables, gives the same iterates."""
    curvature, rate, b = np.array([1.0, 3.0, 10.0]), 0.05, 0.9
    x, v = np.ones(3), np.zeros(3)
    p, tx = {"w": jax.numpy.ones(3)}, oc.trace(b, nesterov=True)
    state = tx.init(p)
    for _ in range(30):
        v = b * v - rate * curvature * (x + b * v)
        x = x + v
        u, state = tx.update({"w": p["w"] * jax.numpy.float32(curvature)}, state)
        p = {"w": p["w"] - rate * u["w"]}
    assert_agree(p, {"w": x + b * v}, 1e-5)


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    ours, twin = run(oc.trace(**options), entries, RATE), run_twin(optax.trace(**options), entries, RATE)
    assert_agree(ours.state["trace"], twin.state.trace, SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_agrees_with_torch(entries, options):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    decay, nesterov = options["decay"], options.get("nesterov", False)
    params, slots = run_torch(lambda p: torch.optim.SGD(p, -RATE, momentum=decay, nesterov=nesterov), entries)
    ours = run(oc.trace(**options), entries, RATE)
    assert_agree(ours.state["trace"], slots["momentum_buffer"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:2], ids=str)
def test_is_exact_in_float64(entries, options):
    ours, twin = run_float64(oc.trace(**options), entries), by_leaf(velocity, entries.grads, **options)
    assert ours.state["trace"]["digits"]["out"]["kernel"].dtype == np.float64
    assert_agree(ours.state["trace"], twin["trace"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_sums_a_constant_gradient_as_a_geometric_series(seed):
    given, b = repeated(seed, steps=50), 0.8
    weights = (1 - b ** np.arange(1, 51)) / (1 - b)
    series = by_leaf(lambda gs: {"sum": gs * weights.reshape(-1, *(1,) * (gs.ndim - 1))}, given.grads)["sum"]
    assert_agree(run(oc.trace(b), given).updates, series, 2e-6)
