"""Every number of every exported technique refuses what is outside its range, by name."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from techniques import RULES, build, updated

import optchain as oc
from optchain.core.numbers import Range, ranges

NUMBERS = [(name, *number) for name in RULES for number in ranges(RULES[name]).items()]
every_number = pytest.mark.parametrize(
    "name, argument, allowed", NUMBERS, ids=lambda x: x.interval if isinstance(x, Range) else x
)
NO_SCALARS = ["0.5", "", None, True, np.array([0.5]), jnp.array([0.5]), np.ones((1, 1))]
NO_NUMBERS = [[0.5], (0.5,), {"value": 0.5}, 0.5j, object()]


def outside(allowed):
    """Constants just outside an interval, and its open ends."""
    low, high = map(float, allowed.interval[1:-1].split(","))
    bad = [np.nextafter(low, -np.inf), np.nextafter(high, np.inf), low - 1, high + 1, np.nan, np.inf, -np.inf]
    bad += [low] if allowed.interval[0] == "(" else []
    bad += [high] if allowed.interval[-1] == ")" else []
    return [float(x) for x in bad if not np.isfinite(x) or x < low or x > high or x in (low, high)]


def refusal(name, argument, value):
    """What the technique says of a value that it refuses; nothing of one that it takes."""
    try:
        build(name, **{argument: value})
    except ValueError as error:
        return str(error)
    return ""


def inside(allowed):
    return next(x for x in (0.5, 8.0, 0.25) if x in allowed)


def test_there_are_numbers():
    assert len(NUMBERS) > 20 and ("scale_by_adam", "b1") in [(name, argument) for name, argument, _ in NUMBERS]


@every_number
def test_refuses_what_is_outside_its_range_or_no_scalar(name, argument, allowed):
    for bad in outside(allowed):
        for value in (bad, np.float64(bad), np.array(bad)):
            said = f"{name}: {argument} must lie in {allowed.interval}, got "
            assert refusal(name, argument, value).startswith(said), repr(value)
    said = f"{name}: {argument} must be a scalar in {allowed.interval} or a schedule, got "
    for value in NO_SCALARS:
        assert refusal(name, argument, value).startswith(said), repr(value)
    for value in NO_NUMBERS:
        assert refusal(name, argument, value) == f"{said}{value!r}"


@every_number
def test_takes_every_scalar_of_its_range_and_any_schedule(name, argument, allowed):
    value, params = inside(allowed), {"w": jnp.ones((2, 2))}
    for good in (value, np.float32(value), np.array(value), jnp.array(value), lambda step: value):
        tx = build(name, **{argument: good})
        updates, _ = jax.eval_shape(lambda p, tx=tx: updated(tx, p, tx.init(p), p), params)
        chex.assert_trees_all_equal_shapes_and_dtypes(updates, params)


@pytest.mark.full
@every_number
def test_computes_with_a_scalar_of_its_range_and_with_a_schedule(name, argument, allowed):
    value, params = inside(allowed), {"w": jnp.ones((2, 2))}
    for good in (value, np.float32(value), np.array(value), jnp.array(value), lambda step: value):
        tx = build(name, **{argument: good})
        updates, _ = updated(tx, params, tx.init(params), params)
        chex.assert_tree_all_finite(updates)


def test_does_not_check_traced_values():
    """A range error would need the value, which is not there at trace time."""

    @jax.jit
    def update(b1):
        tx = oc.scale_by_adam(b1=b1)
        return tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]

    chex.assert_tree_all_finite(update(1.5))


@pytest.mark.parametrize("name", dict.fromkeys(name for name, _, _ in NUMBERS))
def test_names_the_nearest_argument(name):
    argument = next(iter(ranges(RULES[name])))
    with pytest.raises(TypeError, match=f"{name} has no argument '{argument}s'; did you mean '{argument}'"):
        getattr(oc, name)(**{f"{argument}s": 0.5})
