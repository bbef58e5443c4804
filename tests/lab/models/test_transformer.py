"""Stochastic depth of the transformer, beside the layers put together by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from optchain.lab.models.functional import functional
from optchain.lab.models.tables import Transformer as Table
from optchain.lab.models.transformer import Layer, Transformer

TEXT = jnp.asarray(np.random.default_rng(0).integers(0, 9, (24, 5)), jnp.int32)


def made(**keys):
    model = functional(Transformer(Table(use="transformer", width=8, heads=2, **keys), 9))
    return model, *model.init(jax.random.key(0), TEXT)


@pytest.mark.parametrize("norm", ["pre", "post"])
def test_a_branch_is_left_out_or_divided_by_its_chance(norm):
    """Of each example the answer of a layer is one of four: with and without each branch, divided by 1 - drop."""
    table, drop = Table(use="transformer", width=8, heads=2, norm=norm), 0.4
    layer, x = Layer(table), jnp.asarray(np.random.default_rng(1).normal(size=(60, 5, 8)), jnp.float32)
    params = layer.init(jax.random.key(0), x)
    found = layer.apply(params, x, jnp.float32(drop), rngs={"dropout": jax.random.key(1)})
    p = params["params"]

    def normed(name, x):
        return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6) * np.asarray(p[name]["scale"])

    def attended(x):
        kernels = (np.asarray(p["attention"][name]["kernel"]) for name in ("query", "key", "value"))
        q, k, v = (np.einsum("btd,dhk->bthk", x, kernel) for kernel in kernels)
        logits = np.einsum("bthk,bshk->bhts", q, k) / np.sqrt(4)
        logits = np.where(np.tril(np.ones((5, 5), bool)), logits, -np.inf)
        likely = np.exp(logits - logits.max(-1, keepdims=True))
        likely = likely / likely.sum(-1, keepdims=True)
        return np.einsum("bhts,bshk,hkd->btd", likely, v, np.asarray(p["attention"]["out"]["kernel"]))

    def dense(x):
        wide = x @ np.asarray(p["wide"]["kernel"])
        gelu = 0.5 * wide * (1 + np.tanh(np.sqrt(2 / np.pi) * (wide + 0.044715 * wide**3)))
        return gelu @ np.asarray(p["narrow"]["kernel"])

    def whole(first, second):
        x_, kept = np.asarray(x, np.float64), (first / (1 - drop), second / (1 - drop))
        for name, sub, much in (("attention_norm", attended, kept[0]), ("dense_norm", dense, kept[1])):
            x_ = x_ + much * sub(normed(name, x_)) if norm == "pre" else normed(name, x_ + much * sub(x_))
        return x_

    each = np.stack([whole(first, second) for first in (0, 1) for second in (0, 1)])
    distances = np.abs(each - np.asarray(found)[None]).max((2, 3))
    assert distances.min(0).max() < 1e-4
    counts = np.bincount(distances.argmin(0), minlength=4) / 60
    np.testing.assert_allclose(counts, [0.16, 0.24, 0.24, 0.36], atol=0.15)


@pytest.mark.parametrize("scan", [False, True])
def test_evaluation_has_all_layers_and_zero_drops_nothing(scan):
    plain, params, rest = made(scan=scan)
    model = made(scan=scan, stochastic_depth=0.5)[0]
    key = jax.random.key(2)
    expected = plain.apply(params, rest, TEXT)[0]
    np.testing.assert_array_equal(model.apply(params, rest, TEXT)[0], expected)
    assert not np.allclose(model.apply(params, rest, TEXT, key, train=True)[0], expected, atol=1e-3)
    table = model.module.table

    def outputs(chance):
        made = functional(Transformer(table.model_copy(update={"stochastic_depth": chance}), 9))
        return made.apply(params, rest, TEXT, key, train=True)[0]

    many = jax.jit(jax.vmap(outputs))(jnp.array([0.0, 0.5]))
    np.testing.assert_allclose(many[0], expected, atol=1e-5)
    np.testing.assert_allclose(many[1], outputs(0.5), atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_the_chance_rises_to_the_last_layer(scan):
    """By the linear rule layer l of L is left out with l / L of the chance."""
    model, params, rest = made(scan=scan, layers=2, stochastic_depth=0.8)
    one = made(scan=scan, layers=2)[0]

    def silent(which):
        """The parameters with which only one layer adds anything, its attention alone."""

        def change(path, x):
            name = jax.tree_util.keystr(path)
            if "narrow" in name:
                return jnp.zeros_like(x)
            if "attention']['out" in name:
                return x.at[1 - which].set(0) if scan else x * (f"layer_{which}" in name)
            return x

        return jax.tree.map_with_path(change, params)

    shares = []
    for which in (0, 1):
        own, texts = silent(which), jnp.tile(TEXT[:1], (400, 1))
        found = model.apply(own, rest, texts, jax.random.key(5), train=True)[0]
        none = one.apply(
            jax.tree.map_with_path(
                lambda path, x: jnp.zeros_like(x) if "attention']['out" in jax.tree_util.keystr(path) else x, own
            ),
            rest,
            texts,
        )[0]
        shares.append(float((np.abs(np.asarray(found - none)).max((1, 2)) < 1e-6).mean()))
    np.testing.assert_allclose(shares, [0.4, 0.8], atol=0.08)
