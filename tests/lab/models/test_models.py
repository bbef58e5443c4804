"""The network as a configuration describes it, with numbers that may be traced."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_tasks

from optchain.lab.models import network as models
from optchain.lab.models.tables import Network


@pytest.fixture(scope="module")
def task():
    return small_tasks.load("circles")


def variables(model, task, seed=0):
    return model.init(jax.random.key(seed), task.splits["train"][0][:1])


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_dropout_chooses_what_that_of_flax_does_also_where_its_rate_is_traced(rate):
    class Flax(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Dropout(rate, deterministic=False, name="Dropout_0")(x)

    class Ours(nn.Module):
        rate: jax.Array

        @nn.compact
        def __call__(self, x):
            return models.Dropout(self.rate)(x)

    x, rngs = jnp.linspace(1, 2, 4000).reshape(40, 100), {"dropout": jax.random.key(1)}
    expected = Flax().apply({}, x, rngs=rngs)
    chex.assert_trees_all_close(Ours(rate).apply({}, x, rngs=rngs), expected)
    traced = jax.jit(lambda rate: Ours(rate).apply({}, x, rngs=rngs))(jnp.float32(rate))
    chex.assert_trees_all_close(traced, expected, rtol=1e-6)
    assert float((traced == 0).mean()) == pytest.approx(rate, abs=0.03)
    assert float(traced.mean() / x.mean()) == pytest.approx(1, abs=0.05)


def test_a_rate_of_zero_may_be_traced_and_drops_nothing(task):
    table = Network(hidden=[6])
    plain = models.build(table, task)
    x, found = task.splits["train"][0][:9], variables(plain, task)

    def outputs(rate):
        model = models.build(table.model_copy(update={"dropout": rate}), task)
        return model.apply(*found, x, jax.random.key(0), train=True)[0]

    expected = plain.apply(*found, x, jax.random.key(0), train=True)[0]
    chex.assert_trees_all_close(jax.jit(outputs)(0.0), expected, rtol=1e-6)
    many = jax.vmap(outputs)(jnp.array([0.0, 0.5]))
    chex.assert_trees_all_close(many[0], expected, rtol=1e-6)
    assert not np.allclose(many[0], many[1])


@pytest.mark.parametrize(
    "norm, names",
    [("none", {"bias", "kernel"}), ("batch", {"kernel"}), ("layer", {"bias", "kernel"})],
)
def test_norms_stand_before_the_activation(task, norm, names):
    model = models.build(Network(hidden=[7], norm=norm, activation="sigmoid"), task)
    params, rest = variables(model, task)
    assert set(params["Dense_0"]) == names
    assert ("batch_stats" in rest) == (norm == "batch")
    own = {"none": set(), "batch": {"BatchNorm_0"}, "layer": {"LayerNorm_0"}}
    assert set(params.get("Block_0", {})) == own[norm]
    x = 100 * task.splits["train"][0][:64]
    found = {"params": params, **rest}
    _, state = model.module.apply(
        found, x, train=True, mutable=["batch_stats", "intermediates"], capture_intermediates=True
    )
    (hidden,) = state["intermediates"]["Block_0"]["__call__"]
    spread = float(hidden.std(1).mean())  # the sigmoid of what is not normalized is 0 or 1 throughout
    assert spread > 0.4 if norm == "none" else spread < 0.3


def test_depth_and_width_are_a_list_of_equal_widths(task):
    one, other = (models.build(table, task) for table in (Network(depth=3, width=5), Network(hidden=[5, 5, 5])))
    chex.assert_trees_all_equal(variables(one, task), variables(other, task))


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"depth": 2}, "depth = 2 needs a width"),
        ({"width": 8}, "width = 8 needs a depth"),
        ({"depth": 2, "width": 8, "hidden": [8]}, r"hidden = \[8\] and depth = 2 exclude each other"),
        ({"initializer": "uniform", "initializer_scale": 0.1, "initializer_gain": 2.0}, "takes no initializer_gain"),
    ],
)
def test_a_network_is_described_in_one_way(keys, message):
    with pytest.raises(ValueError, match=message):
        Network(**keys)


@pytest.mark.parametrize("name", ["xavier", "he", "lecun", "orthogonal"])
def test_a_gain_multiplies_the_kernels_and_may_be_traced(name):
    def draw(numbers):
        return models.kernel_initializer(Network(initializer=name).model_copy(update=numbers))

    key = jax.random.key(3)
    plain = draw({})(key, (30, 20))
    chex.assert_trees_all_close(draw({"initializer_gain": 2.5})(key, (30, 20)), 2.5 * plain, rtol=1e-6)
    many = jax.vmap(lambda gain: draw({"initializer_gain": gain})(key, (30, 20)))(jnp.array([1.0, 3.0]))
    chex.assert_trees_all_close(many, jnp.stack([plain, 3 * plain]), rtol=1e-5, atol=1e-6)


def test_orthogonal_kernels_keep_lengths():
    kernel = models.kernel_initializer(Network(initializer="orthogonal"))(jax.random.key(0), (8, 8))
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(8), atol=1e-5)


def test_leaky_relu_lets_a_little_of_what_is_negative_through():
    np.testing.assert_allclose(models.ACTIVATIONS["leaky_relu"](jnp.array([-1.0, 2.0])), [-0.01, 2.0])


def test_every_activation_of_the_table_is_there():
    wanted = set(Network.model_fields["activation"].annotation.__args__)
    assert wanted == set(models.ACTIVATIONS)
