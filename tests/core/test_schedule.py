"""What every schedule does, run over all that are exported, and the decorator that makes them."""

import copy
import inspect
import math
import pickle
from collections.abc import Sequence
from typing import Annotated

import chex
import cloudpickle
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import optchain as oc
from optchain.core.numbers import Positive, Range, Rate, Scalar
from optchain.core.registry import SCHEDULE, registered
from optchain.core.schedule import Schedule

MAKERS = {name: entry.make for name, entry in registered().items() if entry.kind == SCHEDULE and entry.is_builtin}
STEPS = np.arange(60)


def complete(make):
    """The example with the defaults of all other arguments."""
    defaults = {name: p.default for name, p in inspect.signature(make).parameters.items()}
    return defaults | registered()[make.__name__].example


def numbers(make):
    """The numbers of the example that are single constants."""
    return {name: float(x) for name, x in complete(make).items() if isinstance(x, (int, float))}


def build(make, **changes):
    return make(**(complete(make) | changes))


every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
every_with_numbers = pytest.mark.parametrize(
    "make", [make for make in MAKERS.values() if numbers(make)], ids=lambda m: m.__name__
)


def test_every_family_is_exported():
    assert {"constant", "cosine", "join_schedules", "linear", "noam", "piecewise", "triangular", "wsd"} <= MAKERS.keys()


@every
def test_one_float32_number_for_each_step(make):
    with jax.numpy_dtype_promotion("strict"):
        schedule = build(make)
        values = schedule(jnp.arange(60))
        chex.assert_shape(values, (60,))
        for step in (7, np.int64(7), 7.0, jnp.int32(7), jnp.bfloat16(7), jnp.uint8(7)):
            value = schedule(step)
            chex.assert_shape(value, ())
            assert value.dtype == jnp.float32 and not value.weak_type
            chex.assert_trees_all_close(value, values[7], rtol=1e-6)
        chex.assert_trees_all_close(schedule(jnp.arange(60).reshape(3, 20)), values.reshape(3, 20), rtol=1e-6)
        assert jnp.unique(values).size > 1 or make is oc.constant


@every
def test_finite_at_every_step(make):
    values = build(make)(jnp.concatenate([jnp.arange(2000), 2 ** jnp.arange(11, 25)]))
    chex.assert_tree_all_finite(values)


LENGTHS = {"steps", "total", "period", "half_period", "decay", "every", "tokens_per_step"}


@pytest.mark.parametrize(
    "make,name",
    [(make, name) for make in MAKERS.values() for name in inspect.signature(make).parameters if name in LENGTHS],
)
@pytest.mark.parametrize("length", [0, -1.0])
def test_a_length_of_no_steps_is_an_error(make, name, length):
    with pytest.raises(ValueError, match=f"^{make.__name__}: {name} must lie in"):
        build(make, **{name: length})


@every
def test_as_precise_as_in_float64(make):
    schedule = build(make)
    with jax.enable_x64(True):
        constants = jax.tree.map(
            lambda x: jnp.float64(x) if isinstance(x, (int, float)) else x,
            schedule.arguments,
            is_leaf=lambda x: isinstance(x, Schedule),
        )
        constants |= {"schedule": schedule.arguments["schedule"](STEPS)} if "schedule" in constants else {}
        exact = np.asarray(jax.jit(make.law)(jnp.asarray(STEPS, jnp.float64), **constants)) * np.ones(60)
    chex.assert_trees_all_close(schedule(STEPS), exact, rtol=0, atol=1e-6 * abs(exact).max())


def tolerance(make):
    """The logarithm of a decay near 1 is known to few digits where the decay itself is rounded to float32."""
    return 1e-5 if make is oc.linear_half_life else 3e-6


@every_with_numbers
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32], ids=["float32", "int32"])
def test_traced_numbers_give_what_constants_give(make, dtype):
    constants = {name: x for name, x in numbers(make).items() if dtype == jnp.float32 or x == int(x)}
    steps = jnp.asarray(STEPS)

    @jax.jit
    def traced(values):
        with jax.numpy_dtype_promotion("strict"):
            return build(make, **values)(steps)

    expected = build(make)(steps)
    values = {name: jnp.asarray(x, dtype) for name, x in constants.items()}
    chex.assert_trees_all_close(traced(values), expected, rtol=0, atol=tolerance(make) * abs(expected).max())


@every
def test_passes_through_jit_as_an_argument(make):
    schedule = build(make)
    expected = schedule(STEPS)
    close = {"rtol": 0, "atol": tolerance(make) * abs(expected).max()}
    chex.assert_trees_all_close(jax.jit(lambda s, t: s(t))(schedule, STEPS), expected, **close)
    chex.assert_trees_all_close(jax.jit(schedule)(STEPS), expected, **close)
    _, scanned = jax.lax.scan(lambda count, _: (count + 1, schedule(count)), jnp.int32(0), length=60)
    chex.assert_trees_all_close(scanned, expected, **close)
    chex.assert_trees_all_close(jax.vmap(schedule)(STEPS), expected, **close)


@every_with_numbers
def test_vmap_over_numbers_is_a_loop(make):
    scales = jnp.asarray([1.0, 1.25, 1.5])
    varied = {name: x for name, x in numbers(make).items() if 1.5 * x in make.law.numbers[name]}

    def at(scale):
        return build(make, **{name: scale * x for name, x in varied.items()})(jnp.arange(30))

    looped = jnp.stack([at(scale) for scale in scales])
    chex.assert_trees_all_close(jax.vmap(at)(scales), looped, rtol=0, atol=3e-6 * abs(looped).max())


@every_with_numbers
def test_gradients_are_those_of_finite_differences(make):
    steps = np.asarray([0.3, 3.3, 6.6, 8.7, 12.9, 17.7, 23.4, 40.6])  # away from kinks and jumps

    with jax.enable_x64(True):
        chosen = {name: jnp.float64(x) for name, x in numbers(make).items()}
        rest = {name: x for name, x in complete(make).items() if name not in chosen}
        if "schedule" in rest:
            rest["schedule"] = rest["schedule"](steps)

        def law(values):
            return make.law(jnp.asarray(steps), **rest, **values) * jnp.ones(8)

        found = jax.jacobian(law)(chosen)
        for name, x in chosen.items():
            h = 1e-6 * max(1.0, abs(float(x)))
            numeric = (law(chosen | {name: x + h}) - law(chosen | {name: x - h})) / (2 * h)
            if float(x) + h not in make.law.numbers[name]:  # at the edge of its range: from one side
                numeric = (law(chosen) - law(chosen | {name: x - h})) / h
            chex.assert_trees_all_close(found[name], numeric, rtol=1e-4, atol=1e-6)


@every_with_numbers
def test_gradients_are_finite_at_kinks_too(make):
    gradients = jax.jit(jax.vmap(jax.grad(lambda values, step: build(make, **values)(step)), (None, 0)))
    chosen = {name: jnp.float32(x) for name, x in numbers(make).items()}
    empty = {name: jnp.float32(0.0) for name in chosen if 0.0 in make.law.numbers[name]}
    one = {name: jnp.float32(1.0) for name in chosen if 1.0 in make.law.numbers[name]}
    for values in (chosen, chosen | empty, chosen | one):
        chex.assert_tree_all_finite(gradients(values, jnp.arange(40)))


@every
@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda x: pickle.loads(pickle.dumps(x)),
        lambda x: cloudpickle.loads(cloudpickle.dumps(x)),
        lambda x: jax.tree.map(lambda leaf: leaf, x),
    ],
    ids=["copy", "deepcopy", "pickle", "cloudpickle", "tree_map"],
)
def test_copies_are_equal_and_print_the_same(make, copied):
    schedule = build(make)
    other = copied(schedule)
    assert other == schedule and hash(other) == hash(schedule) and str(other) == str(schedule)
    chex.assert_trees_all_equal(other(STEPS), schedule(STEPS))


@every
def test_other_numbers_are_another_schedule(make):
    schedule = build(make)
    for name, x in numbers(make).items():
        assert build(make, **{name: 0.9 * x or 1e-3}) != schedule, name
    assert schedule != oc.constant(0.123) and schedule != 0.1


@every
def test_prints_as_the_call_that_made_it(make):
    schedule = build(make)
    assert eval(str(schedule), dict(vars(oc))) == schedule
    assert str(schedule).startswith(make.__name__ + "(")
    assert make.__doc__ and "annotation" not in str(inspect.signature(make))


@every
def test_a_constant_outside_its_range_is_an_error(make):
    for name, value in complete(make).items():
        if name not in make.law.numbers or value is None:
            continue
        wrong = (math.nan,) * max(1, len(value)) if isinstance(value, tuple) else math.nan
        with pytest.raises(ValueError, match=rf"{make.__name__}: {name}(\[0\])? must lie in "):
            build(make, **{name: wrong})
    with pytest.raises(TypeError, match=f"{make.__name__} has no argument 'speling'"):
        build(make, speling=1.0)


@every_with_numbers
def test_any_number_may_be_a_schedule(make):
    steps = np.asarray([3, 14, 50])
    for name, x in numbers(make).items():
        moving = build(make, **{name: oc.linear(x, 0.95 * x or 1e-3, 20)})(steps)
        held = [build(make, **{name: oc.linear(x, 0.95 * x or 1e-3, 20)(step)})(step) for step in steps]
        chex.assert_trees_all_close(moving, jnp.stack(held), rtol=1e-5, atol=1e-7)


@every
def test_drives_the_learning_rate_of_a_compiled_chain(make):
    schedule = build(make)
    tx = oc.chain(adam=oc.scale_by_adam(b1=oc.linear(0.85, 0.95, 10)), lr=oc.scale_by_learning_rate(schedule))
    params = {"w": jnp.ones(3)}
    state = tx.init(params)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, state):
        return oc.apply(tx, {"w": jnp.ones(3)}, state, params)

    for count in range(15):
        params, state = step(params, state)
        metrics = oc.metrics(state)
        chex.assert_trees_all_close(metrics["lr.learning_rate"], schedule(count), rtol=1e-5, atol=1e-8)
        chex.assert_trees_all_close(metrics["adam.b1"], jnp.float32(0.85 + 0.01 * min(count, 10)), rtol=1e-6)


def test_a_schedule_works_in_optax():
    tx = optax.sgd(oc.linear(1.0, 0.0, 4))
    params = jnp.zeros(())
    state = tx.init(params)
    seen = []
    for _ in range(6):
        updates, state = tx.update(jnp.ones(()), state, params)
        seen.append(-float(updates))
    assert seen == [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]


def test_a_schedule_of_ones_own():
    @oc.schedule
    def sawtooth(step, height: Rate, teeth: Annotated[Sequence[Scalar], Range("(0, inf)")], floor: Positive = 0.5):
        """A saw."""
        return height * jnp.remainder(step, teeth[0]) + floor

    saw = sawtooth(2.0, np.asarray([4, 5]))
    assert [float(saw(step)) for step in range(5)] == [0.5, 2.5, 4.5, 6.5, 0.5]
    assert str(saw) == "sawtooth(height=2, teeth=(4.0, 5.0), floor=0.5)"
    assert sawtooth.__doc__ == "A saw." and registered()["sawtooth"].example == {}
    assert str(inspect.signature(sawtooth)) == "(height, teeth, floor=0.5)"
    with pytest.raises(ValueError, match=r"sawtooth: teeth\[1\] must lie in \(0, inf\), got 0"):
        sawtooth(2.0, [4, 0])
    with pytest.raises(ValueError, match="sawtooth: teeth must be a sequence, got 4"):
        sawtooth(2.0, 4)
    with pytest.raises(TypeError, match="sawtooth: missing a required argument: 'teeth'"):
        sawtooth(2.0)


def test_a_check_sees_all_arguments_and_names_the_schedule():
    @oc.schedule(check=lambda low, high: f"low={low} is above high={high}" if low > high else None)
    def between(step, low: Rate, high: Rate):
        return (low + high) / 2

    assert float(between(1.0, 3.0)(0)) == 2.0
    with pytest.raises(ValueError, match="^between: low=3.0 is above high=1.0$"):
        between(3.0, 1.0)


def test_traced_schedules_print_compare_and_hash_inside_jit():
    @jax.jit
    def inside(start):
        one, two = oc.linear(start, 0.0, 10), oc.linear(start + 1, 0.0, 10)
        assert one == one and one == oc.linear(start, 0.0, 10) and one != two
        assert hash(one) == hash(two)
        assert str(one) == "linear(start=traced, end=0, steps=10)"
        return jax.jit(one)(5), jax.jit(two)(5)

    chex.assert_trees_all_close(inside(1.0), (jnp.float32(0.5), jnp.float32(1.0)))


def test_a_sweep_is_one_schedule_with_stacked_numbers():
    sweep = jax.vmap(lambda start: oc.linear(start, 0.0, 10))(jnp.asarray([1.0, 2.0, 3.0]))
    chex.assert_trees_all_close(jax.vmap(lambda s: s(5))(sweep), jnp.asarray([0.5, 1.0, 1.5]))
