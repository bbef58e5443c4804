"""Gradients of rows against `jax.value_and_grad`, and that no dense one is made."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import optchain as oc
from optchain.core.paths import named_leaves
from optchain.embeddings.linen import Embed
from optchain.embeddings.nnx import Embed as NnxEmbed
from optchain.embeddings.nnx import row_value_and_grad as nnx_row_value_and_grad

IDS = jnp.array([[3, 1, 3], [-1, 0, 3]])


class Model(linen.Module):
    """Two look-ups in one table, one in another, and layers after them."""

    embed: type = Embed
    rows: int = 12

    @linen.compact
    def __call__(self, ids):
        words, places = self.embed(self.rows, 4, name="words"), self.embed(3, 4, name="places")
        x = words(ids) + words(ids[:, ::-1]) ** 2 + places(jnp.arange(3))[None]
        return linen.Dense(1)(jnp.tanh(x).mean(1))


class Tied(linen.Module):
    embed: type = Embed

    @linen.compact
    def __call__(self, ids):
        words = self.embed(12, 4)
        return words.attend(jnp.tanh(words(ids)).mean(1))


def of(model):
    params = model.init(jax.random.key(0), IDS)["params"]
    return params, lambda params, ids: jnp.sum(model.apply({"params": params}, ids) ** 2)


def dense(grads):
    is_rows = lambda x: isinstance(x, oc.RowGradient)  # noqa: E731
    return jax.tree.map(lambda x: x.dense() if is_rows(x) else x, grads, is_leaf=is_rows)


@pytest.mark.parametrize("wrap", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_linen_model(wrap):
    params, loss = of(Model())
    value, grads = wrap(oc.row_value_and_grad(loss))(params, IDS)
    wanted = jax.value_and_grad(of(Model(linen.Embed))[1])(params, IDS)
    assert grads["words"]["embedding"].indices.tolist() == [3, 1, 3, 11, 0, 3, 3, 1, 3, 3, 0, 11]
    chex.assert_trees_all_close((value, dense(grads)), wanted, rtol=1e-5, atol=1e-7)
    plain = jax.value_and_grad(loss)(params, IDS)
    chex.assert_trees_all_close(plain, wanted, rtol=1e-6)  # as anyone else differentiates it


def test_a_table_that_is_used_as_a_whole_has_a_dense_gradient():
    params, loss = of(Tied())
    value, grads = jax.jit(oc.row_value_and_grad(loss))(params, IDS)
    chex.assert_trees_all_close((value, grads), jax.value_and_grad(of(Tied(linen.Embed))[1])(params, IDS), rtol=1e-5)


def test_an_embedding_of_flax_has_a_dense_gradient():
    params, loss = of(Model(linen.Embed))
    value, grads = oc.row_value_and_grad(loss)(params, IDS)
    chex.assert_trees_all_close((value, grads), jax.value_and_grad(loss)(params, IDS), rtol=1e-5)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, None])
def test_an_embedding_of_narrow_outputs(dtype):
    ours, theirs = Embed(12, 4, dtype=dtype), linen.Embed(12, 4, dtype=dtype)
    params = theirs.init(jax.random.key(0), IDS)
    chex.assert_trees_all_equal(ours.init(jax.random.key(0), IDS), params)
    out, wanted = ours.apply(params, IDS), theirs.apply(params, IDS)
    assert out.dtype == wanted.dtype
    chex.assert_trees_all_equal(out, wanted)


def test_auxiliary_output_and_other_arguments():
    def loss(params, ids, *, power):
        rows = oc.look_up(params["embedding"], ids)
        return jnp.sum(rows**power), {"rows": rows}

    params = {"embedding": jnp.arange(24.0).reshape(6, 2, 2)}
    (value, aux), grads = oc.row_value_and_grad(loss, has_aux=True)(params, jnp.array([5]), power=2)
    assert value == jnp.sum(params["embedding"][5] ** 2) and aux["rows"].shape == (1, 2, 2)
    chex.assert_trees_all_close(grads["embedding"].values, 2 * params["embedding"][5:])


def test_ids_out_of_range_change_nothing():
    params = {"embedding": jnp.ones((4, 2))}
    loss = lambda params, ids: jnp.nansum(oc.look_up(params["embedding"], ids))  # noqa: E731
    _, grads = oc.row_value_and_grad(loss)(params, jnp.array([4, -5, 1]))
    np.testing.assert_array_equal(grads["embedding"].dense(), jnp.zeros((4, 2)).at[1].set(1.0))


def test_an_nnx_model_keeps_what_it_changes():
    class Clicks(nnx.Module):
        def __init__(self, embed, rngs):
            self.words = embed(12, 4, rngs=rngs)
            self.norm, self.out = nnx.BatchNorm(4, rngs=rngs), nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, ids):
            return self.out(self.norm(self.words(ids).mean(1)))

    def loss(model, ids):
        return jnp.sum(model(ids) ** 2)

    ours, theirs = Clicks(NnxEmbed, nnx.Rngs(0)), Clicks(nnx.Embed, nnx.Rngs(0))
    value, grads = nnx_row_value_and_grad(loss)(ours, IDS)
    wanted, others = nnx.value_and_grad(loss)(theirs, IDS)
    is_rows = lambda x: isinstance(x, oc.RowGradient)  # noqa: E731
    found = dict(named_leaves(grads, is_rows))
    assert is_rows(found["words/embedding"])
    others = dict(named_leaves(others))
    chex.assert_trees_all_close((value, dense(found)), (wanted, others), rtol=1e-4, atol=1e-6)
    chex.assert_trees_all_close(ours.norm.mean[...], theirs.norm.mean[...], rtol=1e-6)
    params = nnx.state(ours, nnx.Param)
    tx = oc.rows(oc.adam(0.1), tables="words/embedding")
    before = ours.words.embedding[...]
    nnx.update(ours, oc.apply(tx, grads, tx.init(params), params)[0])
    moved = np.any(np.asarray(ours.words.embedding[...] != before), axis=1)
    assert np.flatnonzero(moved).tolist() == [0, 1, 3, 11]


def test_memory_of_the_backward_pass_does_not_grow_with_the_table():
    temporaries = []
    for rows in (1_000, 100_000):
        model = Model(rows=rows)
        params = jax.eval_shape(lambda model=model: model.init(jax.random.key(0), IDS)["params"])
        loss = lambda params, ids, model=model: jnp.sum(model.apply({"params": params}, ids) ** 2)  # noqa: E731
        compiled = jax.jit(oc.row_value_and_grad(loss)).lower(params, IDS).compile()
        memory = compiled.memory_analysis()
        temporaries.append(memory.temp_size_in_bytes + memory.output_size_in_bytes)
    assert temporaries[0] == temporaries[1] < 20_000


@pytest.mark.parametrize(
    "within",
    [
        lambda f: jax.jit(f),
        lambda f: jax.checkpoint(f),
        lambda f: lambda p, i: jax.vmap(lambda i: f(p, i))(i).sum(),
        lambda f: lambda p, i: jax.lax.map(lambda i: f(p, i), i).sum(),
    ],
    ids=["jit", "remat", "vmap", "scan"],
)
def test_a_look_up_within_a_transformation_is_refused(within):
    loss = within(lambda params, ids: jnp.sum(oc.look_up(params["embedding"], ids)))
    with pytest.raises(ValueError, match="table 'embedding' is looked up in a transformation of its own"):
        oc.row_value_and_grad(loss)({"embedding": jnp.ones((4, 2))}, IDS)


def test_wrong_arguments():
    params, loss = of(Model())
    with pytest.raises(ValueError, match="did you mean 'words/embedding'"):
        oc.row_value_and_grad(loss, tables="word/embeddin")(params, IDS)
    with pytest.raises(ValueError, match="ids must be integers, got float32"):
        oc.look_up(jnp.ones((3, 2)), jnp.ones(2))
