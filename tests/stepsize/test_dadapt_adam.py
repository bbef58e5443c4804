import jax
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, assert_agree
from techniques import own
from tiers import one_of_each
from whole_tree import on_vector, run, run_float64, run_torch

import optchain as oc

# Each rounding of d stays in all later ones, and Adam makes full steps of what a tiny spring loses by rounding.
FLOAT32, FLOAT64 = 2e-4, 1e-6
OPTIONS = [
    {},
    {"b1": 0.8, "b2": 0.99, "estim_lr0": 1e-4, "eps": 1e-4, "weight_decay": 0.1, "bias_correction": True},
]


def paper(
    gs, p, learning_rate=1.0, b1=0.9, b2=0.999, eps=1e-8, estim_lr0=1e-6, weight_decay=0.0, bias_correction=False,
    old_root=False,
):  # fmt: skip
    """Algorithm 5 of Defazio and Mishchenko, with the options of their code, which takes an old root."""
    m, v, s, r, d, x, updates = np.zeros_like(p), np.zeros_like(p), np.zeros_like(p), 0.0, estim_lr0, p, []
    b3 = np.sqrt(b2)
    for t, gradient in enumerate(gs, 1):
        g = gradient(x)
        rate = d * learning_rate * (np.sqrt(1 - b2**t) / (1 - b1**t) if bias_correction else 1)
        m = b1 * m + (1 - b1) * rate * g
        old, v = v, b2 * v + (1 - b2) * g**2
        r = b3 * r + (1 - b3) * rate * np.dot(g, s / (np.sqrt(old if old_root else v) + eps))
        s = b3 * s + (1 - b3) * rate * g
        d = max(d, r / ((1 - b3) * np.sum(np.abs(s))))
        u = m / (np.sqrt(v) + eps) + weight_decay * rate * x
        x = x - u
        updates.append(u)
    return {"updates": np.stack(updates), "mu": m, "nu": v, "weighted": s, "along": r, "d": d}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=["plain", "all"])
def test_agrees_with_the_paper(entries, options):
    twin = on_vector(paper, entries, **options)
    assert twin["d"] > 10 * options.get("estim_lr0", 1e-6)  # it has found something
    names = ("mu", "nu", "weighted", "along", "d")
    tx = oc.scale_by_dadapt_adam(**options)
    exact, found = run_float64(tx, entries, -1.0), run(tx, entries, -1.0)
    assert_agree({x: exact.state[x] for x in names}, {x: twin[x] for x in names}, FLOAT64)
    assert_agree(exact.updates, twin["updates"], FLOAT64)
    assert_agree(found.state["d"], twin["d"], FLOAT32)
    if "weight_decay" not in options:  # which moves entries without a gradient: all that theirs has is rounding
        assert_agree(found.params, exact.params, FLOAT32)


def test_optax_takes_the_old_root(entries):
    """And corrects the bias always: the paper's law with these changes is optax's."""
    theirs = run_float64(optax.contrib.dadapt_adamw(weight_decay=0.1), entries, promotion="standard")
    options = {"bias_correction": True, "weight_decay": 0.1}
    changed, ours = (on_vector(paper, entries, **options, old_root=x) for x in (True, False))
    assert_agree({"d": theirs.state.estim_lr}, {"d": changed["d"]}, FLOAT64)
    assert_agree(jax.tree.map(lambda u: -u, theirs.updates), changed["updates"], FLOAT64)
    assert ours["d"] != pytest.approx(changed["d"], rel=0.01)
    found = run_float64(oc.dadapt_adamw(**options), entries)
    assert_agree({"d": own(found.state["links"]["dadapt_adamw"])["d"]}, {"d": ours["d"]}, FLOAT64)


@pytest.mark.oracles
def test_pytorch_optimizer_takes_the_old_root(entries):
    """It keeps its scalars in float32, which makes 7.2e-5 of the sum for units that hardly ever work."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(lambda p: other.DAdaptAdam(p, weight_decay=0.1, weight_decouple=True), entries)
    changed = on_vector(paper, entries, weight_decay=0.1, old_root=True)
    assert_agree(slots["s"], changed["weighted"], 5 * PARAMS)
    moved = jax.tree.map(lambda p, u: np.asarray(p, np.float64) - u.sum(0), entries.params, changed["updates"])
    assert_agree(params, moved, PARAMS)


def test_the_estimate_shows(entries):
    tx = oc.dadapt_adamw()
    state = run(tx, entries).state
    assert oc.metrics(state)["dadapt_adamw.d"] == own(state["links"]["dadapt_adamw"])["d"] > 1e-6
