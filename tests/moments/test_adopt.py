import numpy as np
import optax
import optax.contrib
import pytest
from agreement import PARAMS, SLOTS, assert_agree, by_leaf, moved, run, run_float64, run_twin
from recorded_gradients import drawn
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

RATE = -0.01
OPTIONS = [{}, {"b1": 0.5, "b2": 0.9, "eps": 1e-4}, {"use_clipping": False, "b2": 0.99, "eps": 1e-3}, {"b2": 0.0}]


def paper(gs, b1=0.9, b2=0.9999, eps=1e-6, use_clipping=True):
    """Algorithm 2 of Taniguchi et al., clipped as they recommend; the first gradient only begins v."""
    m, v, updates = np.zeros(gs.shape[1:]), gs[0] ** 2, [np.zeros(gs.shape[1:])]
    for t, g in enumerate(gs[1:], 1):
        quotient = g / np.maximum(np.sqrt(v), eps)
        m = b1 * m + (1 - b1) * (np.clip(quotient, -(t**0.25), t**0.25) if use_clipping else quotient)
        updates.append(m)
        v = b2 * v + (1 - b2) * g**2
    return {"updates": np.stack(updates), "mu": m, "nu": v}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(entries, options):
    ours, twin = run(oc.scale_by_adopt(**options), entries, RATE), by_leaf(paper, entries.grads, **options)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], twin[slot], SLOTS)
    assert_agree(ours.params, moved(entries.params, twin["updates"], RATE), PARAMS)


def test_is_exact_in_float64(entries):
    ours, twin = run_float64(oc.scale_by_adopt(**OPTIONS[1]), entries), by_leaf(paper, entries.grads, **OPTIONS[1])
    assert_agree(ours.updates, twin["updates"], 1e-11)


@pytest.mark.parametrize("options", one_of_each(OPTIONS)[1:], ids=str)
def test_agrees_with_optax(entries, options):
    """Which computes 1 - b2 in float32: for the default 0.9999 that is off by 2e-4 of itself, and the mean by 5e-5."""
    ours = run(oc.scale_by_adopt(**options), entries, RATE)
    twin = run_twin(optax.contrib.scale_by_adopt(**options), entries, RATE)
    for slot in ("mu", "nu"):
        assert_agree(ours.state[slot], getattr(twin.state, slot), SLOTS)
    assert_agree(ours.params, twin.params, PARAMS)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(entries):
    """Whose bound counts the first gradient as a step."""
    other = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    params, slots = run_torch(lambda p: other.ADOPT(p, -RATE, clip_lambda=lambda t: (t - 1) ** 0.25), entries)
    ours = run_float64(oc.scale_by_adopt(), entries, RATE)
    assert_agree(ours.state["nu"], slots["exp_avg_sq"], 1e-12)
    assert_agree(ours.params, params, 1e-11)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("b2", [0.5, 0.99, 0.9999])
def test_the_old_average_is_found_again_over_many_decades(seed, b2):
    """The divisor comes from the new average; where that loses its digits the quotient is clipped."""
    given = drawn(seed, steps=60)
    ours, twin = run(oc.scale_by_adopt(b2=b2), given), by_leaf(paper, given.grads, b2=b2)
    assert_agree(ours.updates, twin["updates"], 5e-6)
