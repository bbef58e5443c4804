import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, assert_agree
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64, run_torch

import optchain as oc

# Each rounding of d stays in all later ones, and Adam makes full steps of what a tiny spring loses by rounding.
FLOAT32, FLOAT64 = 2e-4, 1e-5
OPTIONS = [
    {},
    {"b1": 0.8, "b2": 0.99, "estim_lr0": 1e-4, "estim_lr_coef": 2.0, "weight_decay": 0.1, "bias_correction": True},
    {"learning_rate": 0.5, "safeguard_warmup": True, "eps": 1e-4, "beta3": 0.9},
]


def paper(
    gs, p, learning_rate=1.0, b1=0.9, b2=0.999, eps=1e-8, estim_lr0=1e-6, estim_lr_coef=1.0, weight_decay=0.0,
    safeguard_warmup=False, bias_correction=False, beta3=None, new_d_in_eps=False,
):  # fmt: skip
    """Algorithm 4 of Mishchenko and Defazio, with the options of their code."""
    m, v, s, r, d, x, updates = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p), 0.0, estim_lr0, p, []
    b3 = np.sqrt(b2) if beta3 is None else beta3
    for t, gradient in enumerate(gs, 1):
        g = gradient(x)
        gamma = learning_rate * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1)
        m = b1 * m + (1 - b1) * d * g
        v = b2 * v + (1 - b2) * d**2 * g**2
        r = b3 * r + (1 - b3) * gamma * d**2 * np.dot(g, p - x)
        s = b3 * s + (1 - b3) * (1 if safeguard_warmup else gamma) * d**2 * g
        new = max(d, estim_lr_coef * r / np.sum(np.abs(s)))
        u = gamma * d * (m / (np.sqrt(v) + (new if new_d_in_eps else d) * eps) + weight_decay * x)
        x, d = x - u, new
        updates.append(u)
    return {"updates": np.stack(updates), "mu": m, "nu": v, "weighted": s, "moved": p - x, "along": r, "d": d}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all", "warmup"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["d"] > 10 * options.get("estim_lr0", 1e-6)  # it has found something
    tx = oc.scale_by_prodigy(**options)
    exact, found = run_float64(tx, entries, -1.0), run(tx, entries, -1.0)
    for name in ("mu", "nu", "weighted", "moved", "along", "d"):
        assert_agree(exact.state[name], twin[name], FLOAT64)
    assert_agree(exact.updates, twin["updates"], FLOAT64)
    assert_agree(found.state["d"], twin["d"], FLOAT32)
    if "weight_decay" not in options:  # which moves entries without a gradient: all that theirs has is rounding
        assert_agree(found.params, exact.params, FLOAT32)


def test_agrees_with_optax(entries):
    """optax corrects the bias always, and adds the new d times eps, which is seen where d grows."""
    options = {"weight_decay": 0.1, "beta3": 0.99}
    ours = run_float64(oc.prodigy(bias_correction=True, **options), entries)
    theirs = run_float64(optax.contrib.prodigy(**options), entries, promotion="standard")
    changed = on_vector(paper, entries, bias_correction=True, new_d_in_eps=True, **options)
    assert_agree(ours.params, theirs.params, 1e-3)
    assert_agree(theirs.state.estim_lr, changed["d"], FLOAT64)
    assert_agree(jax.tree.map(lambda u: -u, theirs.updates), changed["updates"], FLOAT64)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """It keeps its scalars in float32, and adds the new d times eps."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, _ = run_torch(lambda p: other.Prodigy(p), entries)
    changed = on_vector(paper, entries, new_d_in_eps=True)
    after = jax.tree.map(lambda p, x: np.asarray(p, np.float64) - x, entries.params, changed["moved"])
    assert_agree(params, after, PARAMS)


def test_finds_the_distance_while_low_precision_parameters_do_not_move_yet():
    """At first its steps are far below the resolution of bfloat16: with p0 - p the estimate would stay where it is."""
    start = {"w": jnp.full(16, 2.0, jnp.bfloat16)}

    def trained(tx):
        def step(carry, _):
            params, state = carry
            u, state = tx.update(params, state, params)
            return (optax.apply_updates(params, u), state), None

        return jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=300)[0])(start)

    params, state = trained(oc.prodigy())
    assert float(jnp.abs(params["w"]).max()) < 0.2 and 0.1 < oc.metrics(state)["prodigy.d"] < 20
    theirs, _ = trained(optax.contrib.prodigy())
    assert theirs["w"].tolist() == start["w"].tolist()


def test_the_estimate_never_falls_and_shows(entries):
    tx = oc.chain(prodigy=oc.scale_by_prodigy(), descent=oc.scale(-1.0))
    state, seen, update = tx.init(entries.params), [0.0], jax.jit(tx.update)
    for t in range(20):
        _, state = update(jax.tree.map(lambda g, t=t: g[t], entries.grads), state, entries.params)
        seen.append(float(oc.metrics(state)["prodigy.d"]))
    assert sorted(seen) == seen and seen[-1] > seen[1]


def test_rests_without_gradients():
    tx, p = oc.prodigy(eps=0.0), {"w": jnp.ones(3)}
    updates, state = tx.update({"w": jnp.zeros(3)}, tx.init(p), p)
    assert updates["w"].tolist() == [0, 0, 0] and oc.metrics(state)["prodigy.d"] == np.float32(1e-6)
