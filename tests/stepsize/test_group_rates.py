"""Learning rates of groups under one shared estimate: prodigy, D-Adaptation, DoG and DoWG."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

import optchain as oc

ADAPTIVE = {"prodigy": oc.prodigy, "dadapt_adamw": oc.dadapt_adamw}
PROPORTIONAL = {"dadapt_sgd": oc.dadapt_sgd, "dog": oc.dog, "dowg": oc.dowg}
NAMES = [*ADAPTIVE, *PROPORTIONAL]
EACH = pytest.mark.parametrize("name", one_of_each(NAMES, lambda name: name in ADAPTIVE))


def make(name):
    numbers = {"eps": 0.0} if name in ("prodigy", "dadapt_adamw", "dowg") else {}
    return (ADAPTIVE | PROPORTIONAL)[name](**numbers)


def loss(p):
    return sum(jnp.sum((x - c) ** 2) for x, c in zip(jax.tree.leaves(p), (1.0, -3.0), strict=True))


def trained(tx, loss, steps=30):
    """The parameters, which begin at 0, and the state."""
    p = {"a": jnp.zeros(3), "b": jnp.zeros(2)}

    def step(carry, _):
        params, state = carry
        return oc.apply(tx, jax.grad(loss)(params), state, params), None

    return jax.lax.scan(step, (p, tx.init(p)), None, steps)[0]


def close(found, expected, rtol):
    jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol), found, expected)


@EACH
@pytest.mark.parametrize("largest", [1.0, 0.5])
def test_a_rate_is_a_unit_of_the_parameters(name, largest):
    """Training x = f y with the part f of the rate is training y with the rate of the others."""
    f = 0.25 if name in ADAPTIVE else 0.5
    rules = {"a": {"learning_rate": largest}, "b": {"learning_rate": 0.25 * largest}}
    other = oc.groups(make(name), {"*": {"learning_rate": largest}})
    found, state = jax.jit(lambda: trained(oc.groups(make(name), rules), loss))()
    twin, twin_state = jax.jit(lambda: trained(other, lambda y: loss({"a": y["a"], "b": f * y["b"]})))()
    close(found, {"a": twin["a"], "b": f * twin["b"]}, 1e-4)
    close(oc.metrics(state), oc.metrics(twin_state), 1e-4)
    assert np.abs(found["a"]).max() > 1e-5


@EACH
def test_a_group_of_rate_zero_takes_no_part_in_the_estimate(name):
    """As in the authors' code, whose groups may have the learning rate of the others, or none."""
    stopped = oc.groups(make(name), {"b": {"learning_rate": 0.0}, "*": {}})
    frozen = oc.groups(make(name), {"b": oc.FROZEN, "*": {}})
    (found, state), (twin, twin_state) = (jax.jit(lambda tx=tx: trained(tx, loss))() for tx in (stopped, frozen))
    np.testing.assert_array_equal(found["b"], 0.0)
    close(found["a"], twin["a"], 1e-6)
    close(oc.metrics(state), oc.metrics(twin_state), 1e-6)


def test_rates_may_be_traced_and_all_zero():
    @jax.jit
    def last(a, b):
        return trained(oc.groups(oc.dadapt_sgd(), {"a": {"learning_rate": a}, "b": {"learning_rate": b}}), loss, 3)[0]

    constant = oc.groups(oc.dadapt_sgd(), {"a": {"learning_rate": 0.5}, "b": {"learning_rate": 0.1}})
    close(last(0.5, 0.1), trained(constant, loss, 3)[0], 1e-6)
    jax.tree.map(lambda x: np.testing.assert_array_equal(x, 0.0), last(0.0, 0.0))
    assert np.isfinite(jax.grad(lambda b: jnp.sum(last(0.5, b)["b"]))(0.0))


def test_others_say_that_they_have_one_rate():
    tx = oc.groups(oc.momo(), {"a": {"learning_rate": 0.5}, "*": {}})
    p = {"a": jnp.zeros(3), "b": jnp.zeros(2)}
    with pytest.raises(ValueError, match="scale_by_momo: 'learning_rate' is one number for all leaves, but"):
        tx.update(p, tx.init(p), p, value=jnp.ones(()))
