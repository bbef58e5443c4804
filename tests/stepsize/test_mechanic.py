import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, assert_agree
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64

import optchain as oc

OPTIONS = [{}, {"weight_decay": 0.1, "s_init": 1e-4, "num_betas": 3}]


def paper(gs, p, weight_decay=1e-2, eps=1e-8, s_init=1e-6, num_betas=6, as_optax=False):
    """Algorithm 1 of Cutkosky, Defazio and Mehta around SGD with the rate 1; or with the changes of optax."""
    b = 1 - 0.1 ** np.arange(1, num_betas + 1)
    m, v, r, s = np.zeros(num_betas), np.zeros(num_betas), np.zeros(num_betas), np.zeros(num_betas)
    if as_optax:
        s = s + s_init
    moved, x = np.zeros_like(p), p
    for gradient in gs:
        g = gradient(x)
        if as_optax:
            moved = (x - p) / (np.sum(s) + eps)
        h = np.dot(moved, g + weight_decay * np.sum(s) * np.linalg.norm(g) * x / np.linalg.norm(x))
        won = -np.clip(-h, -m, m) if as_optax else h
        m = np.maximum(b * m, np.abs(h) + (eps if as_optax else 0))
        v = b**2 * v + h**2
        r = b * r - s * won
        bet = s_init / num_betas * m + np.maximum(r, 0)
        r = r if as_optax else np.maximum(r, 0)
        s = bet / (np.sqrt(v) + eps)
        moved = moved - g
        x = p + np.sum(s) * moved
    return {"x": x, "moved": moved, "s": np.sum(s)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["s"] > 10 * options.get("s_init", 1e-6)
    exact, found = (way(oc.mechanize(oc.sgd(1.0), **options), entries) for way in (run_float64, run))
    assert_agree(exact.state["mechanize"]["scale"].sum(), twin["s"], 1e-9)
    assert_agree(exact.state["mechanize"]["moved"], twin["moved"], 1e-9)
    assert_agree(exact.params, twin["x"], 1e-9)
    assert_agree(found.state["mechanize"]["scale"].sum(), twin["s"], 1e-3)  # each rounding stays in all later bets
    assert_agree(found.params, twin["x"], 5 * PARAMS)


def test_the_first_step_has_no_scale_and_the_second_one_s_init():
    """The authors' program scales its first step by what its m of 1e-6 makes of its s_init of 1e-8."""
    tx, p, g = oc.mechanize(oc.sgd(1.0), weight_decay=0.0), jnp.ones(2), jnp.full(2, 0.5)
    state, scales = tx.init(p), []
    for _ in range(2):
        updates, state = tx.update(g, state, p)
        scales.append(float(oc.metrics(state)["mechanize.scale"]))
    assert scales[0] == 0 and not updates.any() == 0
    np.testing.assert_allclose(scales[1], 1e-6, rtol=1e-5)
    theirs = sum(1 - 0.1**i for i in range(1, 7)) * 1e-6 * 1e-8 / 6 / 1e-8
    np.testing.assert_allclose(theirs, 98e-8, rtol=2e-3)


def test_optax_begins_with_a_scale_and_clips_bets(entries):
    theirs = run_float64(optax.contrib.mechanize(optax.sgd(1.0)), entries, promotion="standard")
    changed = on_vector(paper, entries, as_optax=True)
    assert_agree(theirs.state.s.sum(), changed["s"], 1e-6)
    assert_agree(theirs.params, changed["x"], 1e-7)


@pytest.mark.parametrize("rate", [1e-4, 1e2])
def test_finds_the_scale_of_any_rate(rate):
    """A quadratic, in units in which the wrapped rate is far too small or too large."""
    tx, start = oc.mechanize(oc.adam(rate)), {"w": jnp.array([1.0, -2.0, 3.0])}

    @jax.jit
    def trained(p):
        def step(carry, _):
            p, state = carry
            return oc.apply(tx, p, state, p), None

        return jax.lax.scan(step, (p, tx.init(p)), length=1000)[0]

    after, state = trained(start)
    assert float(jnp.abs(after["w"]).max()) < 0.3
    assert 1e-3 < float(oc.metrics(state)["mechanize.scale"]) * rate < 1


def test_update_and_apply_are_the_same_step():
    p = {"w": jnp.array([1.0, -2.0], jnp.bfloat16)}
    tx = oc.mechanize(oc.adam(1.0), s_init=0.1)
    state = tx.init(p)
    for _ in range(3):
        updates, other = tx.update(p, state, p)
        after, state = oc.apply(tx, p, state, p)
        chex.assert_trees_all_equal(state, other)
        chex.assert_trees_all_close(after, optax.apply_updates(p, updates), rtol=0.02)
        p = after


@pytest.mark.parametrize(
    "options, message",
    [
        ({"s_init": 0.0}, r"s_init must lie in \(0, inf\), got 0.0"),
        ({"weight_decay": -1.0}, r"weight_decay must lie in \[0, inf\), got -1.0"),
        ({"num_betas": 0}, "num_betas must be a whole number of at least 1, got 0"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=f"mechanize: {message}"):
        oc.mechanize(oc.sgd(1.0), **options)


def test_asks_for_the_parameters():
    tx, p = oc.mechanize(oc.sgd(1.0)), {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="mechanize reads the parameters"):
        tx.update(p, tx.init(p))
