import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import tree

import optchain as oc
from optchain import REASONS


def reason(state):
    return REASONS[int(oc.metrics(state)["guard.reason"])]


def spoiled(bad, seed=1):
    grads = tree(seed)
    return {**grads, "bias": grads["bias"].at[1].set(bad)}


def after_steps(tx, n=3):
    params, state = tree(0), tx.init(tree(0))
    for seed in range(1, n + 1):
        params, state = oc.apply(tx, tree(seed), state, params, value=1.0)
    return params, state


def of_norm(x):
    return {"w": jnp.array([x, 0.0])}


def fed(tx, norms, **extra):
    """The state after gradients of these norms, and the reasons."""
    params, found = {"w": jnp.zeros(2)}, []
    state = tx.init(params)
    update = jax.jit(tx.update)
    for x in norms:
        _, state = update(of_norm(x), state, params, **extra)
        found.append(reason(state))
    return state, found


def test_accepted_steps_are_those_of_the_inner_transformation():
    params, state = after_steps(oc.guard(oc.adamw(0.1), spike=6.0))
    chex.assert_trees_all_close((params, state["inner"]), after_steps(oc.adamw(0.1)), rtol=1e-6, atol=1e-7)
    assert reason(state) == "accepted" and oc.metrics(state)["guard.accepted"] == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("make", [oc.adamw, optax.adamw])
def test_a_gradient_that_is_not_finite_changes_nothing(bad, make):
    tx = oc.guard(make(0.1))
    params, state = after_steps(tx)
    updates, after = tx.update(spoiled(bad), state, params)
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, params))
    chex.assert_trees_all_equal(oc.apply(tx, spoiled(bad), state, params)[0], params)
    chex.assert_trees_all_equal(after["inner"], state["inner"])
    for kept in ("norm", "value", "accepted"):
        chex.assert_trees_all_equal(after["guard"][kept], state["guard"][kept])
    assert reason(after) == "gradient not finite" and oc.metrics(after)["guard.rejected"] == 1


def test_a_loss_that_is_not_finite_rejects():
    tx = oc.guard(oc.adamw(0.1))
    params, state = after_steps(tx)
    found, after = oc.apply(tx, tree(9), state, params, value=jnp.nan)
    chex.assert_trees_all_equal((found, after["inner"]), (params, state["inner"]))
    chex.assert_trees_all_equal(after["guard"]["value"], state["guard"]["value"])
    assert reason(after) == "value not finite"


@pytest.mark.parametrize("limit,x,value,why", [
    ({"max_norm": 2.0}, 2.5, 0.0, "gradient norm above its limit"),
    ({"max_norm": 2.0}, 2.0, 0.0, "accepted"),
    ({"max_value": 3.0}, 1.0, 3.5, "value above its limit"),
    ({"max_value": 3.0}, 1.0, 3.0, "accepted"),
])  # fmt: skip
def test_absolute_limits(limit, x, value, why):
    _, reasons = fed(oc.guard(oc.sgd(0.1), **limit), [x], value=value)
    assert reasons == [why]


@pytest.mark.parametrize("check,why", [(False, "accepted"), (True, "output not finite")])
def test_outputs_are_checked_on_request(check, why):
    divides = optax.stateless(lambda u, _: jax.tree.map(lambda x: x / x, u))  # 0 / 0 for a zero gradient
    tx, params = oc.guard(divides, check_outputs=check), {"w": jnp.ones(2)}
    found, state = jax.jit(lambda g: oc.apply(tx, g, tx.init(params), params))(of_norm(1.0))
    assert reason(state) == why
    assert np.isfinite(found["w"]).all() == check


def test_a_spike_of_the_norm_is_rejected_after_the_warmup():
    tx = oc.guard(oc.sgd(0.1), spike=4.0, warmup=20)
    usual = list(1.0 + 0.2 * np.sin(np.arange(30.0)))
    state, reasons = fed(tx, [*usual[:10], 50.0, *usual[10:]])
    assert set(reasons) == {"accepted"}
    state, reasons = fed(tx, [*usual, 3.0, 1.0])
    assert reasons[-2:] == ["gradient norm is a spike", "accepted"]
    assert oc.metrics(state)["guard.rejected"] == 1


def test_a_spike_of_the_loss_is_rejected():
    tx, params = oc.guard(oc.sgd(0.1), spike=4.0, warmup=5), {"w": jnp.zeros(2)}
    state = tx.init(params)
    for value in (-1.0, -1.1, -0.9, -1.0, -1.1, -0.9, 2.0):
        _, state = tx.update(of_norm(1.0), state, params, value=value)
    assert reason(state) == "value is a spike"


def test_the_statistics_are_those_of_the_samples():
    norms = np.array([1.0, 2.0, 4.0, 3.0])
    seen = fed(oc.guard(oc.sgd(0.1), decay=0.999), norms)[0]["guard"]["norm"]
    np.testing.assert_allclose((seen["mean"], seen["square"]), (norms.mean(), (norms**2).mean()), rtol=1e-6)


def test_a_small_rise_above_a_constant_norm_is_no_spike():
    tx = oc.guard(oc.sgd(0.1), spike=4.0, warmup=10)
    assert fed(tx, [1.0] * 20 + [1.19])[1][-1] == "accepted"
    assert fed(tx, [1.0] * 20 + [1.21])[1][-1] == "gradient norm is a spike"
    assert fed(tx, [0.0] * 20 + [1.0])[1][-1] == "accepted"


def test_non_finite_values_never_enter_the_statistics():
    tx = oc.guard(oc.sgd(0.1), spike=4.0, warmup=5)
    clean, _ = fed(tx, [1.0, 1.1, 0.9] * 5)
    state, reasons = fed(tx, [1.0, 1.1, 0.9] * 5 + [np.nan, np.inf])
    chex.assert_trees_all_equal(state["guard"]["norm"], clean["guard"]["norm"])
    assert reasons[-2:] == ["gradient not finite"] * 2


def test_a_change_that_lasts_is_followed():
    reasons = fed(oc.guard(oc.sgd(0.1), spike=4.0, warmup=10, decay=0.9), [1.0] * 20 + [10.0] * 40)[1]
    assert reasons[20] == "gradient norm is a spike" and reasons[-1] == "accepted"


def test_rejections_in_a_row_exhaust_the_patience():
    tx = oc.guard(oc.sgd(0.1), patience=3)
    told = [float(oc.metrics(fed(tx, [1.0] + [np.nan] * n)[0])["guard.exhausted"]) for n in range(5)]
    assert told == [0, 0, 0, 1, 1]
    state, _ = fed(tx, [np.nan] * 5 + [1.0])
    assert oc.metrics(state)["guard.streak"] == 0 and oc.metrics(state)["guard.exhausted"] == 0


def test_the_loss_scale_halves_at_an_overflow_and_doubles_after_good_steps():
    tx, params = oc.guard(oc.scale(-1.0), loss_scale=8.0, growth=2), {"w": jnp.zeros(2, jnp.float16)}
    state, scales = tx.init(params), []
    for x in (np.inf, 1.0, 1.0, 1.0, np.nan, np.inf, np.inf, np.inf):
        scale = oc.loss_scale(state)
        updates, state = tx.update({"w": (scale * jnp.array([x, 0.5])).astype(jnp.float16)}, state, params)
        np.testing.assert_allclose(updates["w"], [-1.0, -0.5] if x == 1.0 else [0.0, 0.0])
        scales.append(float(oc.loss_scale(state)))
    assert scales == [4, 4, 8, 8, 4, 2, 1, 1]


def test_the_loss_scale_is_found_in_any_state():
    params, scaled = tree(0), oc.guard(oc.accumulate(oc.adam(0.1), 2), loss_scale=16.0)
    for tx in (scaled, oc.chain(guard=scaled), optax.chain(optax.clip(1.0), scaled), oc.guard(scaled)):
        assert oc.loss_scale(tx.init(params)) == 16.0
    with pytest.raises(ValueError, match="0 guards in the state scale the loss; expected one"):
        oc.loss_scale(oc.guard(oc.adam(0.1)).init(params))
    with pytest.raises(ValueError, match="2 guards in the state scale the loss"):
        oc.loss_scale(oc.chain(scaled, scaled).init(params))


def test_schedules_count_the_accepted_steps():
    tx = oc.guard(oc.chain(lr=oc.scale_by_learning_rate(lambda step: 1.0 + step)))
    state, _ = fed(tx, [1.0, np.nan, 1.0])
    assert oc.metrics(state)["lr.learning_rate"] == 2.0


@pytest.mark.parametrize("name,bad", [
    ("max_norm", 0.0), ("spike", -1.0), ("decay", 1.0), ("warmup", -1), ("patience", 0),
    ("loss_scale", 0.0), ("growth", 0),
])  # fmt: skip
def test_a_bad_number_is_refused(name, bad):
    with pytest.raises(ValueError, match=f"guard: {name} must"):
        oc.guard(oc.sgd(0.1), **{name: bad})
