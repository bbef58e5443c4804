import jax
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc
from optchain.moments.radam import length

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4, "threshold": 4.0}, {"b2": 0.99999, "eps_root": 1e-6}, {"b2": 0.6}]


def paper(gs, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0):
    """Algorithm 2 of Liu et al., with two epsilons and a threshold for their 4."""
    m, v, updates = np.zeros(gs.shape[1:]), np.zeros(gs.shape[1:]), []
    longest = 2 / (1 - b2) - 1
    for t, g in enumerate(gs, 1):
        v = b2 * v + (1 - b2) * g**2
        m = b1 * m + (1 - b1) * g
        m_hat = m / (1 - b1**t)
        length = longest - 2 * t * b2**t / (1 - b2**t)
        if length > threshold:
            divisor = np.sqrt(v / (1 - b2**t) + eps_root) + eps
            r = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
            updates.append(r * m_hat / divisor)
        else:
            updates.append(m_hat)
    return {"updates": np.stack(updates), "mu": m, "nu": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_radam(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_radam(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[1::2], ids=str)
def test_agrees_with_optax(entries, options):
    ours = run(oc.scale_by_radam(**options), entries, RATE)
    twin = run_twin(optax.scale_by_radam(**options), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_torch(entries):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.RAdam(p, lr=-RATE, eps=1e-30), entries)
    ours = run_float64(oc.scale_by_radam(eps=1e-30), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 1e-12)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-11)


@pytest.mark.full
def test_rectifies_more_exactly_than_optax(entries):
    """optax subtracts 1994 from 1999 in float32; that costs digits of the first rectified updates.

    With b2 = 0.99999 it costs all of them.
    """
    early = entries._replace(grads=jax.tree.map(lambda g: g[:8], entries.grads))
    last = by_leaf(lambda gs: {"updates": paper(gs)["updates"][5:]}, early.grads)["updates"]
    ours, theirs = run(oc.scale_by_radam(), early).updates, run_twin(optax.scale_by_radam(), early).updates
    assert_agree(jax.tree.map(lambda u: u[5:], ours), last, SLOTS)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(jax.tree.map(lambda u: u[5:], theirs), last, 10 * SLOTS)


def test_the_length_is_exact():
    """The samples that a mean of squares is worth, against the difference of the two large terms in float64."""
    for b in (0.5, 0.9, 0.999, 0.99999):
        t = np.unique(np.geomspace(1, 1e6, 50).round())
        weight = -np.expm1(t * np.log(b))
        wanted = 2 / (1 - b) - 1 - 2 * t * (1 - weight) / weight
        np.testing.assert_allclose(length(b, jax.numpy.float32(t)), wanted, rtol=1e-6)


def test_without_enough_samples_it_is_momentum(entries):
    ours = run(oc.scale_by_radam(b2=0.5), entries).updates
    twin = run_twin(optax.ema(0.9), entries).updates
    assert_agree(ours, twin, SLOTS)
