"""Full optimizers that find their own rate: descent without one."""

import jax
import jax.numpy as jnp
import optax
import optax.contrib
import pytest

import optchain as oc

PRESETS = [name for name, x in vars(oc).items() if getattr(x, "__module__", "") == "optchain.presets.rate_free"]


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("size", [1.0, 30.0])
def test_descends_a_quadratic_of_any_size_without_a_rate(name, size):
    largest = {"learning_rate": 1.0} if name == "momo_adam" else {}  # what bounds its steps
    start, tx = {"x": size * jnp.array([1.0, -2.0, 3.0])}, getattr(oc, name)(**largest)

    @jax.jit
    def trained(p):
        def step(carry, _):
            p, state = carry
            return oc.apply(tx, p, state, p, value=jnp.sum(p["x"] ** 2) / 2), None

        return jax.lax.scan(step, (p, tx.init(p)), length=1000)[0][0]

    assert optax.tree.norm(trained(start)) < 0.5 * optax.tree.norm(start)


def test_the_decay_of_dog_is_part_of_the_gradient():
    tx = oc.dog(weight_decay=0.1, mask="*w")
    assert [name for name, _ in tx.link.links] == ["decay", "dog", "descent"]
    assert [name for name, _ in oc.dog().link.links] == ["dog", "descent"]
