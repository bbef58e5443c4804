import jax
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
OPTIONS = [{}, {"learning_rate": 0.5, "reps_rel": 1e-3, "eps": 0.0}]


def paper(gs, p, learning_rate=1.0, reps_rel=1e-6, eps=1e-8):
    """The step size of Ivgi, Hinder and Carmon."""
    r, total, x, updates = reps_rel * (1 + np.linalg.norm(p)), 0.0, p, []
    for gradient in gs:
        g = gradient(x)
        r = max(r, np.linalg.norm(x - p))
        total += np.sum(g**2)
        u = learning_rate * r / np.sqrt(total + eps) * g
        x = x - u
        updates.append(u)
    return {"updates": np.stack(updates), "distance": r, "squares": total, "moved": p - x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["distance"] > 10 * options.get("reps_rel", 1e-6)
    exact, found = (way(oc.scale_by_dog(**options), entries, -1.0) for way in (run_float64, run))
    for name in ("distance", "squares", "moved"):
        assert_agree(exact.state[name], twin[name], FLOAT64)
        assert_agree(found.state[name], twin[name], FLOAT32)
    assert_agree(exact.updates, twin["updates"], FLOAT64)
    assert_agree(found.params, exact.params, PARAMS)


def test_agrees_with_optax(recorded):
    """Of its ways to begin ours is the heuristic one, which is the paper's."""
    ours = run_float64(oc.dog(weight_decay=0.1, mask=oc.is_matrix), recorded)
    theirs = optax.contrib.dog(weight_decay=0.1, mask=jax.tree.map(lambda p: p.ndim > 1, recorded.params))
    assert_agree(ours.params, run_float64(theirs, recorded, promotion="standard").params, FLOAT64)


def test_moves_on_while_low_precision_parameters_do_not_yet():
    """At first its steps are far below the resolution of bfloat16: with p0 - p the distance would stay where it is."""
    start = {"w": jnp.full(16, 2.0, jnp.bfloat16)}

    def trained(tx):
        def step(carry, _):
            params, state = carry
            u, state = tx.update(params, state, params)
            return (optax.apply_updates(params, u), state), None

        return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=400)[0][0]["w"])(start)

    assert float(jnp.abs(trained(oc.dog())).max()) < 0.5
    assert trained(optax.contrib.dog()).tolist() == start["w"].tolist()


def test_shows_the_distance_and_the_step():
    tx = oc.chain(dog=oc.scale_by_dog(reps_rel=0.5, eps=0.0))
    p, g = {"w": jnp.zeros(2), "v": jnp.zeros(1)}, {"w": jnp.array([3.0, 0.0]), "v": jnp.array([4.0])}
    updates, state = tx.update(g, tx.init(p), p)
    assert (oc.metrics(state)["dog.distance"], oc.metrics(state)["dog.step"]) == (0.5, np.float32(0.1))
    np.testing.assert_allclose(updates["w"], [0.3, 0.0], rtol=1e-6)


def test_rests_without_gradients():
    tx, p = oc.scale_by_dog(eps=0.0), {"w": jnp.ones(3)}
    updates, state = tx.update({"w": jnp.zeros(3)}, tx.init(p), p)
    assert updates["w"].tolist() == [0, 0, 0] and own(state)["squares"] == 0
