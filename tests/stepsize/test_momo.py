import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, assert_agree
from recorded_gradients import STEPS
from tiers import one_of_each
from whole_tree import losses, on_vector, run, run_float64

import optchain as oc

OPTIONS = [
    {"learning_rate": 10.0},
    {"learning_rate": 10.0, "beta": 0.5, "lower_bound": -1.0, "weight_decay": 0.01},
    {"learning_rate": 2.0, "adapt_lower_bound": True, "lower_bound": 0.01},
]


def paper(
    gs, p, values, learning_rate=1.0, beta=0.9, lower_bound=0.0, weight_decay=0.0, adapt_lower_bound=False,
    divide=True,
):  # fmt: skip
    """MoMo of Schaipp et al., with gamma itself; without `divide` the step is not divided, only the parameters are."""
    x, d, loss, gamma, bound = p, 0.0, 0.0, 0.0, lower_bound
    updates, taus, grown = [], [], 1 + learning_rate * weight_decay
    for t, (gradient, f) in enumerate(zip(gs, values, strict=True)):
        g, b = gradient(x), beta if t else 0.0
        d = b * d + (1 - b) * g
        loss = b * loss + (1 - b) * f
        gamma = b * gamma + (1 - b) * np.dot(g, x)
        reach = grown * (loss - gamma) + np.dot(d, x)
        if adapt_lower_bound and reach < grown * bound:
            bound = max(reach / (2 * grown), lower_bound)
        tau = min(learning_rate, max(reach - grown * bound, 0) / np.sum(d**2))
        if adapt_lower_bound:
            bound = max(loss + np.dot(d, x) - gamma - tau * np.sum(d**2) / 2, lower_bound)
        new = (x - tau * d) / grown if divide else x / grown - tau * d
        updates.append(x - new)
        taus.append(tau)
        x = new
    return {"updates": np.stack(updates), "mu": d, "loss": loss, "bound": bound, "x": x, "adapted": np.ptp(taus) > 0}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "decay", "bound"])
def test_agrees_with_the_paper(entries, options):
    values = losses(STEPS)
    twin = on_vector(paper, entries, np.float64(values), **options)
    assert twin["adapted"]
    exact, found = (way(oc.scale_by_momo(**options), entries, -1.0, values) for way in (run_float64, run))
    for name in ("mu", "loss", "bound"):
        assert_agree(exact.state[name], twin[name], 1e-9)
    assert_agree(exact.updates, twin["updates"], 1e-9)
    assert_agree(found.params, twin["x"], 5 * PARAMS)


def test_agrees_with_optax(entries):
    options, values = {"learning_rate": 10.0, "adapt_lower_bound": True}, losses(STEPS)
    ours = run_float64(oc.momo(**options), entries, values=values)
    theirs = run_float64(optax.contrib.momo(**options), entries, values=values, promotion="standard")
    assert_agree(ours.params, theirs.params, 1e-9)


def test_optax_does_not_divide_the_step(entries):
    options, values = {"learning_rate": 1.0, "weight_decay": 0.1}, losses(STEPS)
    theirs = run_float64(optax.contrib.momo(**options), entries, values=values, promotion="standard")
    changed = on_vector(paper, entries, np.float64(values), **options, divide=False)
    assert_agree(theirs.params, changed["x"], 1e-9)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run_float64(oc.momo(**options), entries, values=values).params, theirs.params, 1e-2)


def test_reaches_the_minimum_of_a_cone_at_once():
    tx, p = oc.momo(learning_rate=100.0), {"w": jnp.array([3.0, -4.0])}
    value, g = jax.value_and_grad(lambda p: jnp.linalg.norm(p["w"]))(p)
    after, state = oc.apply(tx, g, tx.init(p), p, value=value)
    np.testing.assert_allclose(after["w"], 0, atol=1e-6)
    assert oc.metrics(state)["momo.step"] == 5 and oc.metrics(state)["momo.bound"] == 0


def test_without_a_loss_it_is_momentum(entries):
    def law(gs, p, beta=0.9):
        x, d = p, 0
        for t, gradient in enumerate(gs):
            d = beta * d + (1 - beta) * gradient(x) if t else gradient(x)
            x = x - 0.1 * d
        return {"x": x}

    assert_agree(run(oc.momo(0.1), entries).params, on_vector(law, entries)["x"], PARAMS)
