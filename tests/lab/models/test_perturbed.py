"""Weights and answers that are changed at random in training, beside the same in NumPy."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from optchain.core.paths import named_leaves
from optchain.lab.base.errors import InputError
from optchain.lab.models.functional import functional
from optchain.lab.models.perturbed import Perturbed, PerturbTable

X = jnp.asarray(np.random.default_rng(0).normal(size=(40, 6)), jnp.float32)
KEY = jax.random.key(3)


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(30)(x))
        return nn.Dense(3)(x)


def made(module=None, **keys):
    model = Perturbed(functional(module or Net()), PerturbTable(**keys))
    return model, *model.init(jax.random.key(0), X)


def forward(params, first=0.0, kernels=None):
    """The network in NumPy, with kernels in the place of its own and noise on the first answers."""
    k = {path: np.asarray(x, np.float64) for path, x in named_leaves(params)} | (kernels or {})
    hidden = np.asarray(X, np.float64) @ k["Dense_0/kernel"] + k["Dense_0/bias"] + first
    return np.maximum(hidden, 0) @ k["Dense_1/kernel"] + k["Dense_1/bias"]


def changed(params, drop, deviation):
    """(w + sigma n) m / (1 - d), drawn from the key and the path of each kernel."""
    kernels = {}
    for path, w in named_leaves(params):
        if path.endswith("kernel"):
            noise, mask = jax.random.split(jax.random.fold_in(KEY, zlib.crc32(path.encode())))
            n = np.asarray(jax.random.normal(noise, w.shape), np.float64)
            m = np.asarray(jax.random.bernoulli(mask, 1 - drop, w.shape), np.float64)
            kernels[path] = (np.asarray(w, np.float64) + deviation * n) * m / (1 - drop)
    return kernels


@pytest.mark.parametrize("drop, deviation", [(0.3, None), (None, 0.2), (0.3, 0.2)])
def test_weights_are_dropped_and_noisy_in_training_alone(drop, deviation):
    model, params, rest = made(drop=drop, weights=deviation)
    kernels = changed(params, drop or 0.0, deviation or 0.0)
    found = model.apply(params, rest, X, KEY, train=True)[0]
    np.testing.assert_allclose(found, forward(params, kernels=kernels), atol=1e-4)
    np.testing.assert_allclose(model.apply(params, rest, X)[0], forward(params), atol=1e-5)
    other = model.apply(params, rest, X, jax.random.key(9), train=True)[0]
    assert not np.allclose(found, other) and not np.allclose(found, forward(params), atol=1e-2)
    zeros = np.mean([(x == 0).mean() for x in kernels.values()])
    assert zeros == pytest.approx(drop or 0, abs=0.1)


def test_a_dropped_weight_has_no_gradient():
    model, params, rest = made(drop=0.5, paths=["Dense_0/kernel"])
    grads = jax.grad(lambda p: model.apply(p, rest, X, KEY, train=True)[0].sum())(params)
    mask = np.asarray(changed(params, 0.5, 0.0)["Dense_0/kernel"] != 0)
    assert (np.asarray(grads["Dense_0"]["kernel"])[~mask] == 0).all() and mask.any() and not mask.all()
    assert np.asarray(grads["Dense_1"]["kernel"]).all()


def test_answers_of_the_layers_that_are_named_are_noisy():
    model, params, rest = made(activations=0.5, layers=["Dense_0"])
    found = np.asarray(model.apply(params, rest, X, KEY, train=True)[0])
    again = np.asarray(model.apply(params, rest, X, KEY, train=True)[0])
    np.testing.assert_array_equal(found, again)
    np.testing.assert_allclose(model.apply(params, rest, X)[0], forward(params), atol=1e-5)
    last, params, rest = made(activations=0.5, layers=["Dense_1"])
    draws = [last.apply(params, rest, X, jax.random.key(i), train=True)[0] - forward(params) for i in range(30)]
    assert np.std(draws) == pytest.approx(0.5, rel=0.03) and np.mean(draws) == pytest.approx(0, abs=0.03)
    assert not np.allclose(draws[0][0], draws[0][1])


def test_numbers_may_be_traced_and_0_changes_nothing():
    model, params, rest = made(drop=0.0, weights=0.0, activations=0.0, layers=["Dense_*"])

    def outputs(number):
        table = model.table.model_copy(update={"drop": number, "weights": number, "activations": number})
        return Perturbed(model.model, table).apply(params, rest, X, KEY, train=True)[0]

    many = jax.jit(jax.vmap(outputs))(jnp.array([0.0, 0.3]))
    np.testing.assert_allclose(many[0], forward(params), atol=1e-5)
    np.testing.assert_allclose(many[1], outputs(0.3), atol=1e-5)
    assert not np.allclose(many[1], many[0])


class Other(nnx.Module):
    def __init__(self, rngs):
        self.first = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        return self.first(x)


def test_modules_of_nnx_have_weights_to_drop_and_no_answers_to_listen_to():
    model, params, rest = made(Other, drop=0.5)
    dropped = changed(params, 0.5, 0.0)["first/kernel"]
    expected = np.asarray(X, np.float64) @ dropped + np.asarray(params["first"]["bias"])
    np.testing.assert_allclose(model.apply(params, rest, X, KEY, train=True)[0], expected, atol=1e-5)
    with pytest.raises(InputError, match="perturb.layers: the model is not of flax.linen"):
        made(Other, activations=0.1, layers=["first"])
