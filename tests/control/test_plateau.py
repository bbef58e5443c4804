"""The factor that follows the loss."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc

NAN = float("nan")


def factors(values, name="value", **options):
    """The factor after each value."""
    tx = oc.scale_on_plateau(**options)
    state, found = tx.init({"w": jnp.ones(2)}), []
    update = jax.jit(lambda state, value: tx.update({"w": jnp.ones(2)}, state, **{name: value}))
    for value in values:
        updates, state = update(state, value)
        np.testing.assert_array_equal(updates["w"], state["scale_on_plateau"]["factor"])
        found.append(float(updates["w"][0]))
    return found


def test_falls_after_patience_and_rests_for_the_cooldown():
    values = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    assert factors(values, factor=0.5, patience=1) == [1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125]
    assert factors(values, factor=0.5, patience=1, cooldown=2) == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


def test_the_minimum_is_kept():
    found = factors([1.0] * 6, factor=0.5, patience=0, minimum=0.25)
    assert found == [1, 0.5, 0.25, 0.25, 0.25, 0.25]


@pytest.mark.parametrize("sign", [1, -1])
def test_a_negative_loss_falls_too(sign):
    """optax's own compares with a multiple of the best, which for a negative one lies above it."""
    falling = [sign * 10.0 - i for i in range(20)]
    assert factors(falling, factor=0.5, patience=2) == [1] * 20
    rising = [sign * 10.0 + i for i in range(6)]
    assert factors(rising, factor=0.5, patience=1) == [1, 1, 0.5, 0.5, 0.25, 0.25]


def test_small_improvements_do_not_count():
    values = [1.0 - 1e-6 * i for i in range(5)]
    assert factors(values, factor=0.5, patience=1, tolerance=1e-3)[-1] == 0.25
    assert factors(values, factor=0.5, patience=1, tolerance=0.0)[-1] == 1


def test_no_news_changes_nothing():
    noisy = [1.0, NAN, NAN, 1.0, float("inf"), NAN, 1.0, NAN]
    assert factors(noisy, factor=0.5, patience=0) == [1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25]
    tx = oc.scale_on_plateau(0.5, patience=0)
    state = tx.init({"w": jnp.ones(2)})
    for _ in range(3):
        updates, state = tx.update({"w": jnp.ones(2)}, state, value=None)
    assert updates["w"][0] == 1


def test_the_bold_driver_lowers_when_the_loss_rises_and_raises_when_it_falls():
    bold = {"factor": 0.5, "patience": 0, "tolerance": 0.0, "raise_by": 2.0, "against": "last"}
    assert factors([5.0, 4.0, 3.0, 6.0, 5.0, 7.0], **bold) == [1, 2, 4, 2, 4, 2]
    assert factors([-5.0, -6.0, -4.0], **bold) == [1, 2, 1]


def test_the_validation_loss_comes_before_the_training_loss():
    tx = oc.chain(plateau=oc.scale_on_plateau(0.5, patience=0), lr=oc.scale(1.0))
    state = tx.init({"w": jnp.ones(2)})
    for validation in (1.0, NAN, 2.0):
        _, state = tx.update({"w": jnp.ones(2)}, state, value=0.0, validation=validation)
    found = oc.metrics(state)
    assert (found["plateau.factor"], found["plateau.best"], found["plateau.stale"]) == (0.5, 1, 0)


def test_agrees_with_optax_on_a_positive_loss():
    values = np.abs(np.sin(np.arange(60.0))) + 1 / (1 + np.arange(60.0))
    theirs = optax.contrib.reduce_on_plateau(0.5, patience=4, rtol=1e-6, atol=0.0, cooldown=3)
    state, wanted = theirs.init({"w": jnp.ones(2)}), []
    for value in values:
        _, state = theirs.update({"w": jnp.ones(2)}, state, value=jnp.float32(value))
        wanted.append(float(state.scale))
    # optax falls at the last value of its patience, we (and torch) after it.
    assert factors(values, factor=0.5, patience=3, tolerance=1e-6, cooldown=3) == wanted


@pytest.mark.oracles
def test_agrees_with_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed: make test-oracles")
    values = np.abs(np.sin(np.arange(60.0))) + 1 / (1 + np.arange(60.0))
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=3, threshold=1e-3, cooldown=2)
    wanted = []
    for value in values:
        schedule.step(value)
        wanted.append(optimizer.param_groups[0]["lr"])
    assert factors(values, factor=0.5, patience=3, tolerance=1e-3, cooldown=2) == wanted


def test_inside_scan_the_state_is_of_fixed_type(strict):
    tx = oc.chain(plateau=oc.scale_on_plateau(0.5, patience=0), lr=oc.scale_by_learning_rate(0.1))
    params = {"w": jnp.ones(2, jnp.bfloat16)}

    def step(state, value):
        return tx.update(params, state, params, value=value)[::-1]

    state, updates = jax.lax.scan(step, tx.init(params), jnp.array([1.0, 1.0, 0.5, 0.7]))
    chex.assert_type(updates["w"], jnp.bfloat16)
    assert oc.metrics(state)["plateau.factor"] == 0.25


@pytest.mark.parametrize(
    "options, message",
    [
        ({"factor": 1.0}, r"factor must lie in \(0, 1\), got 1.0"),
        ({"patience": -1}, "patience must be a whole number of at least 0, got -1"),
        ({"cooldown": 1.5}, "cooldown must be a whole number"),
        ({"raise_by": 0.9}, r"raise_by must lie in \[1, inf\)"),
        ({"against": "worst"}, "against must be 'best' or 'last', got 'worst'"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(ValueError, match=f"scale_on_plateau: {message}"):
        oc.scale_on_plateau(**options)
