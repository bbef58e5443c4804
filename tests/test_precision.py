"""Low precision parameters cost one rounding at the end; float64 stays float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from recorded_gradients import drawn
from techniques import RULES, build, kind, own, updated
from tiers import one_of_each

import optchain as oc

every_rule = pytest.mark.parametrize("name", one_of_each(RULES, kind))


def steps(tx, given, n=5):
    """The updates and the last state of a few steps with fixed parameters."""
    state, found = tx.init(given.params), []
    for t in range(n):
        u, state = updated(tx, jax.tree.map(lambda g, t=t: g[t], given.grads), state, given.params)
        found.append(u)
    return found, state


@every_rule
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.usefixtures("strict")
def test_low_precision_is_float32_rounded_once(name, dtype):
    """With inputs that low precision holds exactly, slots are those of float32 bit for bit, updates rounded."""
    low = jax.tree.map(lambda x: x.astype(dtype), drawn(0))
    high = jax.tree.map(lambda x: x.astype(jnp.float32), low)
    (us, state), (expected, twin) = steps(build(name), low), steps(build(name), high)
    chex.assert_trees_all_equal(state, twin)
    chex.assert_trees_all_equal_dtypes(state, twin)
    for u, v in zip(us, expected, strict=True):
        chex.assert_trees_all_equal(u, jax.tree.map(lambda x: x.astype(dtype), v))
        chex.assert_type(jax.tree.leaves(u), dtype)


@every_rule
def test_float64_stays_float64(name):
    """Updates and slots are float64, and carry more digits than float32 has."""
    given = drawn(0)
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        wide = jax.tree.map(lambda x: x.astype("float64") * 1.1, given)
        us, state = steps(build(name), wide)
        slots = [x for key, slot in own(state).items() if key != "count" for x in jax.tree.leaves(slot)]
        slots = [x for x in slots if jnp.issubdtype(x.dtype, jnp.floating)]  # counts are no numbers of the gradient's
        chex.assert_type([*jax.tree.leaves(us), *slots], np.float64)
        # Any of them: some wait for an extra argument, and those that weigh losses for nothing else.
        assert not slots or name in OF_LOSSES or any(np.any(np.asarray(x) != np.float32(x)) for x in slots)


OF_LOSSES = ("dynamic_task_weights", "gradnorm", "uncertainty_weights")


@pytest.mark.usefixtures("strict")
@pytest.mark.parametrize("make", [oc.sgd, oc.momentum, oc.nesterov, oc.adagrad, oc.rmsprop, oc.adam, oc.adamw, oc.lion])
def test_presets_round_once_at_the_end_of_the_chain(make):
    low = jax.tree.map(lambda x: x.astype(jnp.bfloat16), drawn(1))
    high = jax.tree.map(lambda x: x.astype(jnp.float32), low)
    (us, state), (expected, twin) = steps(make(0.1), low), steps(make(0.1), high)
    chex.assert_trees_all_equal(state, twin)
    for u, v in zip(us, expected, strict=True):
        chex.assert_trees_all_equal(u, jax.tree.map(lambda x: x.astype(jnp.bfloat16), v))
