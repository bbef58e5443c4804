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
    {"learning_rate": 0.1, "eps": 1e-3},
    {"learning_rate": 0.02, "b1": 0.5, "b2": 0.99, "eps": 1e-3, "lower_bound": -0.1, "weight_decay": 0.1},
    {"learning_rate": 0.02, "eps": 1e-3, "adapt_lower_bound": True, "lower_bound": 0.01},
]


def paper(
    gs, p, values, learning_rate=1e-2, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0, weight_decay=0.0,
    adapt_lower_bound=False, divide=True,
):  # fmt: skip
    """MoMo-Adam of Schaipp et al., with gamma itself; without `divide` only the parameters are divided."""
    x, d, v, loss, gamma, bound = p, 0.0, 0.0, 0.0, 0.0, lower_bound
    updates, taus, grown = [], [], 1 + learning_rate * weight_decay
    for t, (gradient, f) in enumerate(zip(gs, values, strict=True), 1):
        g, rho = gradient(x), 1 - b1**t
        d, v = b1 * d + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        loss, gamma = b1 * loss + (1 - b1) * f, b1 * gamma + (1 - b1) * np.dot(g, x)
        way = d / (eps + np.sqrt(v / (1 - b2**t)))
        reach, square = grown * (loss - gamma) + np.dot(d, x), np.dot(d, way)
        if adapt_lower_bound and reach < grown * rho * bound:
            bound = max(reach / (2 * grown * rho), lower_bound)
        tau = min(learning_rate / rho, max(reach - grown * rho * bound, 0) / square)
        if adapt_lower_bound:
            bound = max((loss + np.dot(d, x) - gamma - tau * square / 2) / rho, lower_bound)
        new = (x - tau * way) / grown if divide else x / grown - tau * way
        updates.append(x - new)
        taus.append(tau * rho)
        x = new
    found = {"updates": np.stack(updates), "mu": d, "nu": v, "loss": loss, "bound": bound, "x": x}
    return found | {"adapted": np.ptp(taus) > 1e-6}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "decay", "bound"])
def test_agrees_with_the_paper(entries, options):
    values = losses(STEPS)
    twin = on_vector(paper, entries, np.float64(values), **options)
    assert twin["adapted"]
    exact, found = (way(oc.scale_by_momo_adam(**options), entries, -1.0, values) for way in (run_float64, run))
    for name in ("mu", "nu", "loss", "bound"):
        assert_agree(exact.state[name], twin[name], 1e-5)
    assert_agree(exact.updates, twin["updates"], 1e-5)
    if "weight_decay" not in options:  # which moves entries without a gradient: all that theirs has is rounding
        assert_agree(found.params, twin["x"], 5 * PARAMS)


def test_agrees_with_optax(entries):
    options, values = {"learning_rate": 0.02, "adapt_lower_bound": True, "eps": 1e-3}, losses(STEPS)
    ours = run_float64(oc.momo_adam(**options), entries, values=values)
    theirs = run_float64(optax.contrib.momo_adam(**options), entries, values=values, promotion="standard")
    assert_agree(ours.params, theirs.params, 1e-9)


def test_optax_does_not_divide_the_step(entries):
    options, values = {"learning_rate": 0.1, "weight_decay": 1.0, "eps": 1e-3}, losses(STEPS)
    theirs = run_float64(optax.contrib.momo_adam(**options), entries, values=values, promotion="standard")
    changed = on_vector(paper, entries, np.float64(values), **options, divide=False)
    assert_agree(theirs.params, changed["x"], 1e-9)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run_float64(oc.momo_adam(**options), entries, values=values).params, theirs.params, 1e-2)


def test_without_a_loss_it_is_adam(entries):
    assert_agree(run(oc.momo_adam(1e-3), entries).params, run(oc.adam(1e-3), entries).params, PARAMS)


def test_shows_the_step_and_the_bound():
    tx, p = oc.momo_adam(0.1, lower_bound=0.5), {"w": jnp.array([3.0, -4.0])}
    _, state = oc.apply(tx, p, tx.init(p), p, value=jnp.float32(10.0))
    np.testing.assert_allclose(oc.metrics(state)["momo_adam.step"], 1.0, rtol=1e-6)  # 0.1 / (1 - b1)
    assert oc.metrics(state)["momo_adam.bound"] == 0.5
    _, state = oc.apply(tx, p, tx.init(p), p, value=jnp.float32(0.5))
    np.testing.assert_allclose(oc.metrics(state)["momo_adam.step"], 0, atol=1e-6)
