"""Exponential decay against optax, torch and float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

STEPS = np.arange(2000)


def close(ours, theirs):
    theirs = np.asarray(theirs)
    chex.assert_trees_all_close(ours, theirs.astype(np.float32), rtol=0, atol=1e-6 * abs(theirs).max())


@pytest.mark.parametrize(("factor", "every"), [(0.999, 1), (0.1, 500), (0.5, 7), (1.002, 1)])
def test_agrees_with_float64(factor, every):
    close(oc.exponential(0.3, factor, every)(STEPS), 0.3 * factor ** (STEPS / every))


@pytest.mark.parametrize(("factor", "every"), [(0.5, 500), (0.9, 100)])
def test_agrees_with_optax(factor, every):
    # Only where float32 holds the factor well: optax takes powers of float32(0.999), 5e-6 off after 1000 steps.
    close(oc.exponential(1.0, factor, every)(STEPS), optax.exponential_decay(1.0, every, factor)(STEPS))


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.3])
def test_natural_exponential_agrees_with_float64(rate):
    close(oc.natural_exponential(0.3, rate)(STEPS), 0.3 * np.exp(-rate * STEPS))


@pytest.mark.parametrize("period", [1, 41, 61, 250.0, 5000])
def test_resets_after_each_period(period):
    since = np.mod(STEPS, period)
    close(jax.jit(oc.exponential_with_resets(0.3, 0.99, every=3, period=period))(STEPS), 0.3 * 0.99 ** (since / 3))


@pytest.mark.parametrize("resets", [(100,), [0, 41, 300, 301, 1999], np.asarray([10.0, 20.0])])
def test_resets_at_given_steps(resets):
    last = np.asarray([max([0, *(reset for reset in resets if reset <= step)]) for step in STEPS])
    close(oc.exponential_with_resets(0.3, 0.99, resets=resets)(STEPS), 0.3 * 0.99 ** (STEPS - last))
    pieces = [oc.exponential(0.3, 0.99)] * (len(resets) + 1)
    if resets[0]:
        close(oc.exponential_with_resets(0.3, 0.99, resets=resets)(STEPS), oc.join_schedules(pieces, resets)(STEPS))


def test_resets_may_be_traced():
    found = jax.jit(lambda a: oc.exponential_with_resets(1.0, 0.5, resets=[a, 2 * a])(jnp.arange(8)))(3)
    chex.assert_trees_all_close(found, jnp.float32([1, 0.5, 0.25, 1, 0.5, 0.25, 1, 0.5]), rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "expected either a period or the steps of the resets, got period=None and resets="),
        ({"period": 3, "resets": [5]}, "expected either a period or the steps of the resets"),
        ({"resets": [5, 5]}, r"resets must rise strictly, got 5 before 5 at resets\[1\]"),
        ({"period": 0}, r"period must lie in \(0, inf\), got 0"),
    ],
)
def test_resets_that_make_no_sense(options, message):
    with pytest.raises(ValueError, match=f"exponential_with_resets: {message}"):
        oc.exponential_with_resets(1.0, 0.5, **options)


@pytest.mark.oracles
def test_agrees_with_torch(torch_rates):
    close(oc.exponential(0.3, 0.999)(STEPS), torch_rates("ExponentialLR", 0.3, 2000, gamma=0.999))
