import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, assert_agree
from techniques import own
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64

import optchain as oc

# Each rounding of the distance stays in all later ones.
FLOAT32, FLOAT64 = 2e-4, 1e-8
OPTIONS = [{}, {"learning_rate": 0.5, "init_estim_sq_dist": 1e-8, "eps": 0.0}]


def paper(gs, p, learning_rate=1.0, init_estim_sq_dist=1e-4, eps=1e-4):
    """Algorithm 1 of Khaled, Mishchenko and Jin, with an epsilon."""
    r, v, x, updates = np.sqrt(init_estim_sq_dist), 0.0, p, []
    for gradient in gs:
        g = gradient(x)
        r = max(r, np.linalg.norm(x - p))
        v += r**2 * np.sum(g**2)
        u = learning_rate * r**2 / (np.sqrt(v) + eps) * g
        x = x - u
        updates.append(u)
    return {"updates": np.stack(updates), "estim_sq_dist": r**2, "squares": v, "moved": p - x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["estim_sq_dist"] > 10 * options.get("init_estim_sq_dist", 1e-4)
    exact, found = (way(oc.scale_by_dowg(**options), entries, -1.0) for way in (run_float64, run))
    for name in ("estim_sq_dist", "squares", "moved"):
        assert_agree(exact.state[name], twin[name], FLOAT64)
        assert_agree(found.state[name], twin[name], FLOAT32)
    assert_agree(exact.updates, twin["updates"], FLOAT64)
    assert_agree(found.params, exact.params, PARAMS)


def test_agrees_with_optax(entries):
    ours = run_float64(oc.dowg(weight_decay=0.1), entries)
    theirs = run_float64(optax.contrib.dowg(weight_decay=0.1), entries, promotion="standard")
    assert_agree(ours.params, theirs.params, FLOAT64)


def test_shows_the_distance_and_the_step():
    tx = oc.chain(dowg=oc.scale_by_dowg(init_estim_sq_dist=0.25, eps=0.0))
    p, g = {"w": jnp.zeros(2)}, {"w": jnp.array([3.0, 4.0])}
    updates, state = tx.update(g, tx.init(p), p)
    assert (oc.metrics(state)["dowg.distance"], oc.metrics(state)["dowg.step"]) == (0.5, np.float32(0.1))
    np.testing.assert_allclose(updates["w"], [0.3, 0.4], rtol=1e-6)


def test_rests_without_gradients():
    tx, p = oc.scale_by_dowg(eps=0.0), {"w": jnp.ones(3)}
    updates, state = tx.update({"w": jnp.zeros(3)}, tx.init(p), p)
    assert updates["w"].tolist() == [0, 0, 0] and own(state)["squares"] == 0
