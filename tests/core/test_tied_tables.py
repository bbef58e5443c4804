"""Tables that a model looks up and uses whole: while `row_value_and_grad` traces it, they have all that arrays have."""

import copy

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiers import one_of_each

import optchain as oc
from optchain.embeddings.look_up import Record, Table

IDS, X = jnp.array([3, 1, 3]), jnp.linspace(0, 1, 12).reshape(3, 4)
PARAMS = {"embedding": jax.random.normal(jax.random.key(0), (6, 4))}
USES = {
    "transposed": lambda table: jnp.sum((X @ table.T) ** 2),
    "method": lambda table: jnp.sum(table.astype(jnp.float32).reshape(-1)),
    "left operand": lambda table: jnp.sum((table @ X.T) ** 2) + jnp.sum(table * 2 - 1),
    "right operand": lambda table: jnp.sum(X.T @ jnp.ones((3, 6)) @ table) + jnp.sum(1 / (2 + table**2)),
    "indexed": lambda table: jnp.sum(table[IDS] ** 2) + jnp.sum(-table[0]),
    "updated": lambda table: jnp.sum(table.at[0].set(0) ** 2),
    "function": lambda table: jnp.sum(jnp.einsum("ij,kj->ik", X, table)),
    "rows": lambda table: sum(jnp.sum(row) for row in table) / len(table),
}


@pytest.mark.parametrize("use", one_of_each(USES))
def test_a_table_that_is_used_whole_has_its_dense_gradient(use):
    def loss(params):
        return jnp.sum(oc.look_up(params["embedding"], IDS) ** 3) + USES[use](params["embedding"])

    found, expected = (jax.jit(f(loss))(PARAMS) for f in (oc.row_value_and_grad, jax.value_and_grad))
    chex.assert_trees_all_close(found, expected, rtol=1e-5)


def test_a_step_of_a_tied_model():
    def loss(params):
        table = params["embedding"]
        return jnp.mean(jax.nn.logsumexp(oc.look_up(table, IDS) @ table.T, axis=-1))

    tx = oc.rows(oc.adamw(0.1))

    def step(value_and_grad):
        return oc.apply(tx, value_and_grad(loss)(PARAMS)[1], tx.init(PARAMS), PARAMS)[0]

    found, expected = (jax.jit(lambda f=f: step(f))() for f in (oc.row_value_and_grad, jax.value_and_grad))
    chex.assert_trees_all_close(found, expected, rtol=1e-5)


def test_what_is_asked_of_a_table_to_know_it_uses_nothing():
    record = Record("embedding")
    table = Table(PARAMS["embedding"], record)
    assert (table.shape, table.ndim, table.size, table.dtype) == ((6, 4), 2, 24, jnp.float32)
    assert not hasattr(table, "unbox") and not hasattr(table, "__array__") and not record.used_whole
    with pytest.raises(AttributeError, match="a table has no attribute 'kernel'"):
        table.kernel  # noqa: B018
    leaves, treedef = jax.tree.flatten(table)
    assert treedef.unflatten(leaves).record is record and copy.copy(table).record is record
    assert not record.used_whole
    np.testing.assert_array_equal(table.T, PARAMS["embedding"].T)
    assert record.used_whole
