import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree
from agreement import run as run_open
from recorded_gradients import drawn, scaled
from techniques import own
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64, run_torch

import optchain as oc

# Each rounding of d stays in all later ones.
FLOAT32, FLOAT64 = 1e-3, 1e-9
OPTIONS = [{}, {"learning_rate": 0.5, "momentum": 0.0, "estim_lr0": 1e-3}]


def paper(gs, p, learning_rate=1.0, momentum=0.9, estim_lr0=1e-6):
    """Algorithm 4 of Defazio and Mishchenko, which averages iterates."""
    s, r, d, x, z, updates, first = np.zeros_like(p), 0.0, estim_lr0, p, p, [], np.linalg.norm(gs[0](p))
    for gradient in gs:
        g = gradient(x)
        rate = d * learning_rate / first
        r = r + rate * np.dot(g, s)
        s, z = s + rate * g, z - rate * g
        d = max(d, 2 * r / np.linalg.norm(s))
        new = momentum * x + (1 - momentum) * z
        updates.append(x - new)
        x = new
    return {"updates": np.stack(updates), "total": s, "along": r, "d": d, "x": x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["d"] > 10 * options.get("estim_lr0", 1e-6)  # it has found something
    # In float64 too the paper's iterates have lost digits of the first steps, which are tiny.
    for way, tol in ((run, FLOAT32), (run_float64, FLOAT64)):
        found = way(oc.scale_by_dadapt_sgd(**options), entries, -1.0)
        for name in ("total", "along", "d"):
            assert_agree(found.state[name], twin[name], tol)
        assert_agree(found.updates, twin["updates"], tol)


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_pytorch_optimizer(entries, options):
    """It keeps its scalars in float32."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    names = {"learning_rate": "lr", "momentum": "momentum", "estim_lr0": "d0"}
    given = {"momentum": 0.9} | {names[key]: x for key, x in options.items()}
    params, slots = run_torch(lambda p: other.DAdaptSGD(p, **given), entries)
    ours = run_float64(oc.dadapt_sgd(**options), entries)
    assert_agree(own(ours.state["links"]["dadapt_sgd"])["total"], slots["s"], FLOAT32)
    assert_agree(ours.params, params, FLOAT32)


def test_counts_from_the_first_gradient_that_is_not_zero():
    tx, p = oc.scale_by_dadapt_sgd(momentum=0.0), {"w": jnp.ones(2)}
    updates, state = tx.update({"w": jnp.zeros(2)}, tx.init(p), p)
    assert updates["w"].tolist() == [0, 0] and own(state)["first"] == 0
    updates, state = tx.update({"w": jnp.array([3.0, 4.0])}, state, p)
    np.testing.assert_allclose(updates["w"], [0.6e-6, 0.8e-6], rtol=1e-6)
    assert own(state)["first"] == 5


def test_forgets_the_units_of_the_gradient():
    tx, given = oc.dadapt_sgd(), drawn(0)
    one, other = (run_open(tx, x).params for x in (given, scaled(given, 2.0**10)))
    assert_agree(one, other, 1e-12)
