"""Weights and answers that are changed at random in training, beside the same in NumPy."""

import zlib

import chex
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
    """The same network of nnx, with a list of modules."""

    def __init__(self, rngs):
        self.layers = nnx.List([nnx.Linear(6, 30, rngs=rngs), nnx.Linear(30, 3, rngs=rngs)])

    def __call__(self, x):
        return self.layers[1](nnx.relu(self.layers[0](x)))


def named_as_linen(params):
    """The parameters of `Other` by the names that `forward` knows."""
    return {f"Dense_{i}": layer for i, layer in params["layers"].items()}


def test_weights_of_nnx_are_dropped():
    model, params, rest = made(Other, drop=0.5)
    dropped = {path.replace("layers/", "Dense_"): kernel for path, kernel in changed(params, 0.5, 0.0).items()}
    expected = forward(named_as_linen(params), kernels=dropped)
    np.testing.assert_allclose(model.apply(params, rest, X, KEY, train=True)[0], expected, atol=1e-5)


def noise_of(path, shape, call=0, key=KEY):
    """What a module of nnx draws at one of its calls."""
    own = jax.random.fold_in(jax.random.fold_in(key, zlib.crc32(path.encode())), call)
    return np.asarray(jax.random.normal(own, shape), np.float64)


def test_answers_of_modules_of_nnx_are_noisy():
    model, params, rest = made(Other, activations=0.5, layers=["layers/0"])
    expected = forward(named_as_linen(params), first=0.5 * noise_of("layers/0", (40, 30)))
    np.testing.assert_allclose(model.apply(params, rest, X, KEY, train=True)[0], expected, atol=1e-5)
    plain = forward(named_as_linen(params))
    assert np.std(expected - plain) > 0.1
    np.testing.assert_allclose(model.apply(params, rest, X)[0], plain, atol=1e-5)
    np.testing.assert_allclose(model.apply(params, rest, X, KEY, train=False)[0], plain, atol=1e-5)
    both, params, rest = made(Other, activations=0.5, layers=["layers/*"])
    more = both.apply(params, rest, X, KEY, train=True)[0] - expected
    np.testing.assert_allclose(more, 0.5 * noise_of("layers/1", (40, 3)), atol=1e-5)


@pytest.mark.parametrize("module", [Net, Other])
def test_the_model_itself_is_none_of_its_modules(module):
    """`*` is every module within: the last layer's noise is that of the outputs, once."""
    every, params, rest = made(module() if module is Net else module, activations=0.5, layers=["*"])
    last = PerturbTable(activations=0.5, layers=["Dense_1" if module is Net else "layers/1"])
    first = PerturbTable(activations=0.5, layers=["Dense_0" if module is Net else "layers/0"])
    found, one, other = (
        np.asarray(Perturbed(every.model, table).apply(params, rest, X, KEY, train=True)[0])
        for table in (every.table, first, last)
    )
    plain = np.asarray(every.model.apply(params, rest, X, KEY, train=True)[0])
    np.testing.assert_allclose(found - one, other - plain, atol=1e-5)


@pytest.mark.parametrize("module", [Net, Other])
def test_trials_side_by_side_draw_apart(module):
    layer = "Dense_1" if module is Net else "layers/1"
    model, params, rest = made(module() if module is Net else module, activations=0.5, layers=[layer])
    keys = jax.random.split(KEY, 30)
    together = jax.jit(jax.vmap(lambda key: model.apply(params, rest, X, key, train=True)[0]))(keys)
    alone = [model.apply(params, rest, X, key, train=True)[0] for key in keys]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    noise = (np.asarray(together) - np.asarray(model.apply(params, rest, X)[0])).reshape(30, -1)
    assert np.abs(np.corrcoef(noise) - np.eye(30)).max() < 0.5
    assert np.std(noise) == pytest.approx(0.5, rel=0.05)


class Deep(nnx.Module):
    """A block that is called twice, one within another, and what a step changes: statistics and dropout."""

    def __init__(self, rngs):
        self.block = Block(rngs)
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(self.block(self.block(x)))


class Block(nnx.Module):
    def __init__(self, rngs):
        self.dense, self.norm = nnx.Linear(6, 6, rngs=rngs), nnx.BatchNorm(6, rngs=rngs)
        self.drop = nnx.Dropout(0.3, rngs=rngs)

    @nnx.remat
    def __call__(self, x):
        return self.drop(self.norm(self.dense(x)))


def test_noise_of_0_leaves_dropout_and_statistics_as_they_are():
    plain = functional(Deep)
    model, params, rest = made(Deep, activations=0.0, layers=["block/dense"])
    found, expected = (x.apply(params, rest, X, KEY, train=True) for x in (model, plain))
    chex.assert_trees_all_close(found, expected, atol=1e-6)  # the masks of dropout and the statistics


class Twice(nnx.Module):
    """A layer within a part that is traced once, and called twice."""

    def __init__(self, rngs):
        self.part, self.once = Part(rngs), nnx.Linear(6, 6, rngs=rngs)

    def __call__(self, x):
        return jnp.stack([self.part(x), self.part(x), self.once(x), self.once(x)])


class Part(nnx.Module):
    def __init__(self, rngs):
        self.dense = nnx.Linear(6, 6, rngs=rngs)

    @nnx.remat
    def __call__(self, x):
        return self.dense(x)


def test_each_call_draws_and_nothing_is_kept_of_a_trace():
    """With a traced key and a traced deviation, which a part that is traced once must not close over."""
    model, params, rest = made(Twice, activations=1.0, layers=["part/dense", "once"])
    plain = np.asarray(model.apply(params, rest, X)[0])

    @jax.jit
    def many(keys, deviations):
        def noise(key, deviation):
            table = model.table.model_copy(update={"activations": deviation})
            of = lambda p: Perturbed(model.model, table).apply(p, rest, X, key, train=True)[0]  # noqa: E731
            return of(params) - plain, jax.grad(lambda p: (of(p) ** 2).sum())(params)

        return jax.vmap(noise)(keys, deviations)

    keys, deviations = jax.random.split(KEY), np.array([0.5, 2.0])
    found, grads = many(keys, deviations)
    for i in range(2):
        paths = ("part/dense", "part/dense", "once", "once")
        expected = [noise_of(path, (40, 6), call % 2, keys[i]) for call, path in enumerate(paths)]
        np.testing.assert_allclose(found[i], deviations[i] * np.stack(expected), atol=1e-5)
        assert np.abs(np.corrcoef([x.ravel() for x in expected]) - np.eye(4)).max() < 0.3
    again, _ = jax.jit(lambda *given: many(*given))(keys[::-1], deviations[::-1])
    np.testing.assert_allclose(again, found[::-1], atol=1e-5)
    assert all(np.isfinite(g).all() and np.asarray(g).any() for g in jax.tree.leaves(grads))


class Stack(nnx.Module):
    def __init__(self, rngs):
        made = nnx.vmap(lambda key: nnx.Linear(6, 6, rngs=nnx.Rngs(key)))
        self.layers, self.head = made(jax.random.split(rngs.params(), 4)), nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, x):
        return self.head(
            nnx.scan(lambda x, layer: layer(x), in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)(x, self.layers)
        )


def test_what_does_not_fit_is_named():
    model, params, rest = made(Stack, activations=0.1, layers=["head"])
    assert not np.allclose(*(model.apply(params, rest, X, KEY, train=train)[0] for train in (True, False)))
    with pytest.raises(
        InputError, match=r"perturb.layers: got \['layers'\]; expected modules that are called one by one"
    ):
        made(Stack, activations=0.1, layers=["layers"])
    with pytest.raises(InputError, match=r"perturb.layers: 'layres/0' matches no module; did you mean 'layers/0'"):
        made(Other, activations=0.1, layers=["layres/0"])
