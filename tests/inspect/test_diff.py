"""Two optimizers, or two states, differ by name, and only where they differ."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from techniques import TECHNIQUES, build

import optchain as oc

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.ones(3, jnp.bfloat16)}


def rows(a, b):
    return [(row.name, row.a, row.b) for row in oc.diff(a, b)]


def test_arguments_that_differ():
    a, b = oc.adamw(1e-3), oc.adamw(oc.cosine(1e-3, 10), b2=0.95, mask="*/kernel")
    assert rows(a, b) == [
        ("adam.b2", "0.999", "0.95"),
        ("decay.mask", "None", "*/kernel"),
        ("lr.learning_rate", "0.001", "cosine(start=0.001, steps=10, end=0, exponent=1)"),
    ]
    assert rows(oc.scale(0.1), oc.scale(0.1 + 1e-9)) == [("scale.step_size", "0.1", "0.100000001")]


def test_links_that_only_one_has_stand_where_they_are():
    a = oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1))
    b = oc.guard(oc.chain(clip=oc.clip_by_global_norm(1.0), lr=oc.scale(-0.1), last=oc.clip(2.0)))
    assert [row.name for row in oc.diff(a, b)] == ["guard", "clip", "adam", "last"]
    assert rows(a, b)[1] == ("clip", "-", "clip_by_global_norm(max_norm=1)")
    assert rows(a, oc.chain(adam=oc.scale_by_lion(), lr=oc.scale(-0.1)))[0][0] == "adam"


def test_the_order_of_links_is_a_difference():
    first, second = oc.clip(1.0), oc.scale(2.0)
    assert rows(oc.chain(a=first, b=second), oc.chain(b=second, a=first)) == [("order", "a, b", "b, a")]


@pytest.mark.parametrize("name", TECHNIQUES)
def test_every_technique_is_as_itself(name):
    assert not oc.diff(build(name), build(name))
    assert oc.diff(build(name), oc.chain(build(name), other=oc.scale(1.0)))


def test_of_optax_the_function_is_known():
    assert rows(optax.adam(1e-3), optax.sgd(1e-3)) == []  # both are chains, whose arguments cannot be read
    assert rows(oc.chain(a=optax.scale_by_adam()), oc.chain(a=optax.scale_by_lion())) == [
        ("a", "optax.scale_by_adam()", "optax.scale_by_lion()")
    ]


def test_states():
    tx = oc.adamw(1e-3)
    state = tx.init(PARAMS)
    assert not oc.diff(state, state) and str(oc.diff(state, state)) == "no difference"
    _, after = tx.update(PARAMS, state, PARAMS)
    found = {row.name: row for row in oc.diff(state, after)}
    assert found["step"].a == "0" and found["step"].b == "1"
    assert found["links/adam/scale_by_adam/mu/w"].by == "12 of 12 entries, 0.1 of 0"
    assert "metrics/adam.b1" not in found
    few = oc.adamw(1e-3).init({"w": PARAMS["w"]})
    assert ("links/adam/scale_by_adam/mu/b", "float32[3]", "-") in rows(state, few)
    assert rows({"x": jnp.ones(3)}, {"x": jnp.ones(3, jnp.bfloat16)}) == [("x", "float32[3]", "bfloat16[3]")]


def test_numbers_that_are_not_finite():
    nan = {"x": np.array([1.0, np.nan]), "y": jnp.float32(np.inf)}
    assert not oc.diff(nan, nan)
    (row,) = oc.diff(nan, nan | {"x": np.array([1.0, 2.0])})
    assert row.by == "1 of 2 entries, some are infinite or NaN in one"
    assert not oc.diff({"key": jax.random.key(0)}, {"key": jax.random.key(0)})
    assert oc.diff({"key": jax.random.key(0)}, {"key": jax.random.key(1)})
    shapes = jax.eval_shape(oc.adam(0.1).init, PARAMS)
    assert not oc.diff(shapes, oc.adam(0.1).init(PARAMS))


def test_the_text_is_no_longer_than_a_screen():
    many = {f"w{i}": jnp.ones(2) for i in range(100)}
    found = oc.diff(many, {})
    assert len(found) == 100 and str(found).endswith("and 60 more")


def test_an_optimizer_and_a_state_do_not_compare():
    with pytest.raises(TypeError, match="two optimizers or two states; got an optimizer and a dict"):
        oc.diff(oc.sgd(0.1), {})
