"""Rules: ranges, definition, and one written by a user."""

import dataclasses
import inspect
from dataclasses import KW_ONLY
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.core.numbers import Decay, Range, Rate, Static, numbers
from optchain.core.seen import nothing_seen, with_sample


@pytest.mark.parametrize(
    "interval, inside, outside",
    [
        ("[0, 1)", [0, 0.5, 0.999], [-1e-9, 1, 2, float("nan")]),
        ("(0, inf)", [1e-30, 5], [0, -1, float("inf"), float("nan")]),
        ("[0, 1]", [0, 1], [1.1, -0.1]),
        ("(-inf, inf)", [-5, 0, 5], [float("inf"), -float("inf"), float("nan")]),
    ],
)
def test_ranges(interval, inside, outside):
    assert all(x in Range(interval) for x in inside) and not any(x in Range(interval) for x in outside)


class Count(NamedTuple):
    steps: jax.Array  # like p


@oc.rule
class Decaying:
    """A rule with a number, a static field and a slot."""

    b: Decay = 0.5
    power: Static[int] = 1

    def init(self, p):
        return Count(jnp.zeros_like(p))

    def update(self, g, s, p, t):
        return g * self.b**self.power, Count(s.steps + 1)


def test_a_rule_is_a_frozen_pytree_of_its_numbers():
    law = Decaying(0.25)
    assert jax.tree.leaves(law) == [0.25] and numbers(law) == {"b": 0.25}
    assert law == Decaying(0.25) and law != Decaying(0.25, power=2) and "power=1" in repr(law)
    with pytest.raises(dataclasses.FrozenInstanceError):
        law.b = 0.1
    assert jax.jit(lambda law, g: law.update(g, Count(g), None, 1.0)[0])(law, jnp.ones(2)).tolist() == [0.25, 0.25]
    assert jax.grad(lambda law: law.update(jnp.ones(()), Count(jnp.ones(())), None, 1.0)[0])(law).b == 1.0
    swept = jax.vmap(lambda law: law.update(1.0, Count(0.0), None, 1.0)[0])(Decaying(jnp.array([0.1, 0.2])))
    np.testing.assert_allclose(swept, [0.1, 0.2])


def test_a_lifted_rule_is_an_optax_transformation():
    tx = oc.lift(Decaying, "decaying")(0.5, power=2)
    params = {"w": jnp.ones(2, jnp.bfloat16)}
    state = tx.init(params)
    for _ in range(3):
        updates, state = tx.update(params, state)
    assert updates["w"].dtype == jnp.bfloat16 and updates["w"].tolist() == [0.25, 0.25]
    chex.assert_trees_all_equal(state, {"decaying": {"count": jnp.asarray(3), "steps": {"w": jnp.full(2, 3.0)}}})


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"b": 1.0}, r"decaying: b must lie in \[0, 1\), got 1.0"),
        ({"b": "0.5"}, r"decaying: b must be a scalar in \[0, 1\) or a schedule, got '0.5'"),
        ({"b": True}, "got True"),
        ({"b": None}, "got None"),
        ({"b": np.ones(2)}, "must be a scalar"),
        ({"b": jnp.asarray(2.0)}, r"must lie in \[0, 1\), got 2.0"),
        ({"b": {}}, "must be a scalar in .* or a schedule, got {}"),
        ({"power": 1.5}, "decaying: power must be of type int, got 1.5"),
    ],
)
def test_constants_are_checked_at_construction(arguments, message):
    with pytest.raises(ValueError, match=message):
        oc.lift(Decaying, "decaying")(**arguments)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: oc.lift(Decaying, "decaying")(c=1), "decaying has no argument 'c'; valid: b, mask, power"),
        (lambda: oc.lift(Decaying, "decaying")(powr=1), "did you mean 'power'"),
        (lambda: oc.clip_by_global_norm(), "clip_by_global_norm: missing a required argument: 'max_norm'"),
        (lambda: oc.lift(Decaying, "decaying")(0.5, 2, "w"), "decaying takes 2 arguments by position, got 3; .*: mask"),
        (lambda: oc.guard(oc.scale(1.0), patienc=3), "guard has no argument 'patienc'; did you mean 'patience'"),
    ],
)
def test_a_call_that_does_not_fit_names_the_argument(call, message):
    with pytest.raises(TypeError, match=message):
        call()


@oc.rule
class ByName:
    """Scales by the sum of two numbers, of which the second is given by name."""

    a: Rate
    _: KW_ONLY
    b: Rate = 1.0

    def update(self, g, s, p, t):
        return (self.a + self.b) * g, s


def test_fields_after_kw_only_and_the_mask_are_given_by_name():
    by_name = oc.lift(ByName, "by_name")
    assert str(inspect.signature(by_name)) == "(a, *, b=1.0, mask=None)"
    tx = by_name(1.0, b=2.0)
    assert tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0].tolist() == [3.0, 3.0]
    with pytest.raises(TypeError, match="by_name takes 1 arguments by position, got 2; give all others by name: b, m"):
        by_name(1.0, 2.0)


def test_any_scalar_is_a_number():
    values = [0.5, np.float32(0.5), np.array(0.5), jnp.asarray(0.5), jnp.bfloat16(0.5), lambda step: 0.5, 0]
    for b in values:
        updates, _ = (tx := oc.lift(Decaying, "decaying")(b)).update(jnp.ones(2), tx.init(jnp.ones(2)))
        assert updates.tolist() == ([0.0, 0.0] if b is values[-1] else [0.5, 0.5])


@oc.rule
class Rows:
    """Divides each row by its sum."""

    core_ndim = 1

    def update(self, g, s, p, t):
        return g / jnp.sum(g), s


def test_a_rank_that_a_rule_does_not_expect_is_an_error_with_the_path():
    tx = oc.chain(rows=oc.lift(Rows, "by_rows")())
    with pytest.raises(ValueError, match=r"by_rows looks across 1 axes: leaf 'deep/w' has shape \(2, 2\)") as error:
        tx.update({"deep": {"w": jnp.ones((2, 2))}}, tx.init({}))
    assert error.value.__notes__ == ["in link 'rows' of chain"]


@oc.rule
class Wrong:
    """Returns an update of another shape."""

    def update(self, g, s, p, t):
        return jnp.sum(g), s


@oc.rule
class NotNamed:
    """Returns slots without names."""

    def init(self, p):
        return [p]

    def update(self, g, s, p, t):
        return g, s


def test_rules_that_break_the_protocol_are_reported():
    with pytest.raises(ValueError, match="wrong turns leaf 'w' and its slots"):
        oc.lift(Wrong, "wrong")().update({"w": jnp.ones(3)}, {"wrong": {"count": jnp.asarray(0)}})
    with pytest.raises(ValueError, match=r"NotNamed.init must return a NamedTuple of arrays or \(\), got list"):
        oc.lift(NotNamed, "not_named")().init({"w": jnp.ones(3)})


def weights(b, steps):
    """The weight that a mean has seen after each step."""

    def step(seen, _):
        return with_sample(seen, b)

    start = jax.tree.map(lambda x: jnp.broadcast_to(x, jnp.shape(b)), nothing_seen(jnp.float32))
    return jax.jit(lambda: jax.lax.scan(step, start, length=steps)[1])()


def test_the_weight_of_a_mean_is_accurate():
    b = np.float32(np.concatenate([[0, 1e-30], 1 - np.logspace(-6, -1e-3, 500)]))
    with np.errstate(divide="ignore"):
        exact = -np.expm1(np.outer(np.arange(1, 1001), np.log(np.float64(b))))
    np.testing.assert_allclose(weights(jnp.asarray(b), 1000), exact, rtol=1e-6)


@pytest.mark.parametrize("b", [0.99, 0.999, 0.99999])
def test_the_weight_of_a_mean_stays_accurate_over_a_million_steps(b):
    exact = -np.expm1(np.arange(1, 10**6 + 1) * np.log(b))
    np.testing.assert_allclose(weights(b, 10**6), exact, rtol=1e-6)
