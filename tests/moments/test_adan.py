import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.8, "b3": 0.9, "eps": 1e-4, "eps_root": 1e-6}]


def paper(gs, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0):
    """Algorithm 1 of Xie et al., whose betas are 1 - b, with means that begin at 0 and are debiased."""
    beta1, beta2, beta3 = 1 - b1, 1 - b2, 1 - b3
    m, v, n, last, updates = (*(np.zeros(gs.shape[1:]) for _ in range(3)), gs[0], [])
    for t, g in enumerate(gs, 1):
        m = (1 - beta1) * m + beta1 * g
        v = (1 - beta2) * v + beta2 * (g - last)
        n = (1 - beta3) * n + beta3 * (g + (1 - beta2) * (g - last)) ** 2
        ahead = m / (1 - b1**t) + (1 - beta2) * v / (1 - b2**t)
        updates.append(ahead / (np.sqrt(n / (1 - b3**t) + eps_root) + eps))
        last = g
    return {"updates": np.stack(updates), "mu": m, "delta": v, "nu": n, "last": last}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adan(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "delta", "nu", "last"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_adan(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


def test_agrees_with_optax_where_b2_is_a_half(entries):
    """optax weighs the differences with 1 - b2, the paper with 1 - its beta2, which is b2."""
    ours = run(oc.scale_by_adan(b2=0.5), entries, RATE)
    twin = run_twin(optax.scale_by_adan(b2=0.5), entries, RATE)
    for slot, theirs in (("mu", "m"), ("delta", "v"), ("nu", "n"), ("last", "g")):
        assert_agree(ours.state[slot], getattr(twin.state, theirs), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)
    with pytest.raises(AssertionError, match="differs by"):
        assert_agree(run(oc.scale_by_adan(), entries).updates, run_twin(optax.scale_by_adan(), entries).updates, 0.1)


def test_tiny_gradients_make_whole_steps():
    """An `eps_root` of 1e-8 would be an eps of 1e-4: the step would be a tenth of this."""
    tx, g = oc.adan(1.0), jnp.full(3, 1e-5)
    np.testing.assert_allclose(tx.update(g, tx.init(g), g)[0], -1.0, rtol=2e-3)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(lambda p: other.Adan(p, lr=-RATE), entries)
    ours = run_float64(oc.scale_by_adan(**OPTIONS[0]), entries, RATE)
    assert_agree(ours.state["mu"], slots["exp_avg"], 1e-12)
    assert_agree(ours.state["delta"], slots["exp_avg_diff"], 1e-12)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-11)
