import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree
from recorded_gradients import STEPS
from tiers import one_of_each
from whole_tree import losses, on_vector, run, run_float64

import optchain as oc

OPTIONS = [{}, {"f_min": 1.0, "max_learning_rate": 0.05, "eps": 0.1}, {"f_min": 1.0, "variant": "sps+"}]


def paper(gs, p, values, f_min=0.0, max_learning_rate=1.0, eps=0.0, variant="sps"):
    """Equation 3 of Loizou et al."""
    x, updates = p, []
    for gradient, value in zip(gs, values, strict=True):
        g = gradient(x)
        gap = max(value - f_min, 0) if variant == "sps+" else value - f_min
        u = min(gap / (np.sum(g**2) + eps), max_learning_rate) * g
        x = x - u
        updates.append(u)
    return {"updates": np.stack(updates), "x": x}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all", "plus"])
def test_agrees_with_the_paper(entries, options):
    values = losses(STEPS)
    twin = on_vector(paper, entries, np.float64(values), **options)
    exact, found = (way(oc.scale_by_polyak(**options), entries, -1.0, values) for way in (run_float64, run))
    assert_agree(exact.updates, twin["updates"], 1e-11)
    assert_agree(found.updates, twin["updates"], 10 * SLOTS)
    assert_agree(found.params, twin["x"], PARAMS)


def test_agrees_with_optax(entries):
    options = {"f_min": 0.5, "max_learning_rate": 0.5, "eps": 0.1, "variant": "sps+"}
    ours = run_float64(oc.polyak_sgd(**options), entries, values=losses(STEPS))
    twin = optax.polyak_sgd(**options)
    assert_agree(ours.params, run_float64(twin, entries, values=losses(STEPS), promotion="standard").params, 1e-11)


def test_the_scaling_follows_the_step():
    """As its formula says; in optax it comes first, and the step makes up for it."""
    p, g = jnp.zeros(2), jnp.array([3.0, 4.0])
    ours, theirs = oc.polyak_sgd(scaling=0.5), optax.polyak_sgd(scaling=0.5)
    found, twin = (tx.update(g, tx.init(p), p, value=jnp.float32(5.0))[0] for tx in (ours, theirs))
    np.testing.assert_allclose(found, -0.5 * 0.2 * g, rtol=1e-6)
    np.testing.assert_allclose(twin, -2 * 0.2 * g, rtol=1e-6)


def test_reaches_the_minimum_of_a_cone_at_once():
    """The norm, whose lowest value is 0, is as linear as a loss can be."""
    tx, p = oc.polyak_sgd(max_learning_rate=100.0), {"w": jnp.array([3.0, 0.0]), "v": jnp.array([4.0])}
    value, g = jax.value_and_grad(lambda p: jnp.sqrt(jnp.sum(p["w"] ** 2) + jnp.sum(p["v"] ** 2)))(p)
    after, state = oc.apply(tx, g, tx.init(p), p, value=value)
    np.testing.assert_allclose(np.concatenate([after["w"], after["v"]]), 0, atol=1e-6)
    assert oc.metrics(state)["polyak.step"] == 5


def test_without_a_loss_it_is_the_largest_rate():
    tx, g = oc.chain(polyak=oc.scale_by_polyak(max_learning_rate=0.25)), {"w": jnp.array([4.0])}
    updates, state = tx.update(g, tx.init(g), g, value=None)
    assert updates["w"] == 1 and oc.metrics(state)["polyak.step"] == 0.25
    assert tx.update({"w": jnp.zeros(1)}, state, g, value=1.0)[0]["w"] == 0


def test_variants_are_checked():
    tx, g = oc.scale_by_polyak(variant="sps++"), jnp.ones(2)
    with pytest.raises(ValueError, match=r"scale_by_polyak: variant must be 'sps' or 'sps\+', got 'sps\+\+'"):
        tx.update(g, tx.init(g), value=1.0)
