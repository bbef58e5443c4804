"""The power law against the paper's scheduler, its warm-up and its cooldown."""

import chex
import numpy as np
import pytest

import optchain as oc

TOKENS, BATCH = 4096 * 128, 128
STEPS = np.arange(0, 20_000, 7)


def power(n, a=4.6, b=-0.51, peak=0.02):
    """Power of Shen et al. at n tokens, with the batch size as a factor."""
    return np.minimum(peak, BATCH * a * np.maximum(n, 1.0) ** b)


def warmed(n, warmup):
    """WarmupPower."""
    return np.where(n < warmup, n / warmup * power(warmup), power(n))


def test_agrees_with_the_paper_in_tokens():
    n, warmup, total, decay = STEPS * float(TOKENS), 5e8, 1e10, 1e9
    base = oc.power_law(0.02, 4.6 * BATCH, -0.51, warmup)
    chex.assert_trees_all_close(oc.in_tokens(base, TOKENS)(STEPS), warmed(n, warmup), rtol=5e-5, atol=1e-9)
    cooled = np.where(n < total - decay, warmed(n, warmup), warmed(total - decay, warmup) * (total - n) / decay)
    found = oc.in_tokens(oc.cooldown(base, total, decay), TOKENS)(STEPS)
    chex.assert_trees_all_close(found, np.maximum(cooled, 0), rtol=0, atol=2e-6 * power(warmup))


@pytest.mark.parametrize("warmup", [0, 1, 41])
def test_is_the_inverse_root_where_no_bound_holds(warmup):
    """And for exponent 0 a warm-up to a constant."""
    steps = np.arange(1, 300)
    exact = np.where(steps < warmup, steps / max(warmup, 1), 1) / np.sqrt(np.maximum(steps, max(warmup, 1)))
    chex.assert_trees_all_close(oc.power_law(9.0, 1.0, -0.5, warmup)(steps), exact, rtol=1e-5)
    flat = oc.power_law(9.0, 0.5, 0.0, warmup)(steps)
    chex.assert_trees_all_close(flat, oc.wsd(0.5, warmup, 1000, 1)(steps), rtol=1e-6)


def test_a_growing_power_is_an_error():
    with pytest.raises(ValueError, match=r"power_law: exponent must lie in \(-inf, 0\], got 0.5"):
        oc.power_law(1.0, 1.0, 0.5)
