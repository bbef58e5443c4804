import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, run, run_float64, run_twin
from techniques import own
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [{"learning_rate": 0.01}, {"learning_rate": 0.1, "momentum": 0.0, "eps": 1e-3}]


def paper(gs, p, learning_rate, momentum=0.9, eps=1e-6):
    """Algorithm 1 of Defazio and Jelassi."""
    start, s, v = p, 0.0, 0.0
    for k, g in enumerate(gs):
        rate = learning_rate * np.sqrt(k + 1)
        s = s + rate * g
        v = v + rate * g**2
        z = start - s / (np.cbrt(v) + eps)
        p = momentum * p + (1 - momentum) * z
    return {"params": p, "sum": s, "sum_of_squares": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours = run(oc.scale_by_madgrad(**options), entries)
    twin = by_leaf(paper, entries.grads, entries.params, **options)
    assert_agree(ours.state["sum"], twin["sum"], SLOTS)
    assert_agree(ours.state["sum_of_squares"], twin["sum_of_squares"], SLOTS)
    assert_agree(ours.state["start"], entries.params, 0)
    assert_agree(ours.params, twin["params"], PARAMS)


def test_is_exact_in_float64(entries):
    ours = run_float64(oc.scale_by_madgrad(**OPTIONS[0]), entries)
    assert_agree(ours.params, by_leaf(paper, entries.grads, entries.params, **OPTIONS[0])["params"], 1e-12)


def slower(learning_rate, momentum=0.9, eps=1e-6):
    """The arguments with which the twins, who add eps to the rate, have the paper's rate."""
    return {"momentum": momentum, "eps": eps}, learning_rate - eps


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_optax(entries, options):
    rest, rate = slower(**options)
    twin = run_twin(optax.contrib.madgrad(rate, **rest), entries)
    assert_agree(run(oc.madgrad(**options), entries).params, twin.params, PARAMS)


@pytest.mark.oracles
@pytest.mark.parametrize("options", one_of_each(OPTIONS)[:1], ids=str)
def test_agrees_with_pytorch_optimizer(entries, options):
    oracle = pytest.importorskip("pytorch_optimizer")
    rest, rate = slower(**options)
    params, slots = run_torch(lambda p: oracle.MADGRAD(p, lr=rate, **rest), entries)
    ours = run(oc.scale_by_madgrad(**options), entries)
    assert_agree(ours.state["sum"], slots["s"], SLOTS)
    assert_agree(ours.params, params, PARAMS)


def test_parameters_that_a_schedule_stops_stay_between_start_and_z():
    """With a rate of 0 from some step on, momentum still carries the parameters to z, and no further."""
    tx, p, g = oc.scale_by_madgrad(lambda step: jnp.where(step < 1, 0.1, 0.0)), jnp.ones(3), jnp.ones(3)
    state, trail = tx.init(p), []
    for _ in range(80):
        u, state = tx.update(g, state, p)
        p = p + u
        trail.append(float(p[0]))
    z = 1 - 0.1 / (np.cbrt(0.1) + 1e-6)
    assert all(a > b for a, b in zip(trail, trail[1:], strict=False) if a - z > 1e-3)
    np.testing.assert_allclose(trail[-1], z, rtol=1e-3)
    assert jax.tree.all(jax.tree.map(lambda x: bool((x == 1).all()), own(state)["start"]))
