"""Rows of tables on meshes with explicit axes: ids and tables may be sharded, along any axis."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec
from tiers import one_of_each

import optchain as oc

P = PartitionSpec
TABLE, W = jax.random.normal(jax.random.key(0), (64, 4)), jnp.ones((4, 3))
FEW = jax.random.randint(jax.random.key(1), (2, 4), 0, 64)
MANY = jax.random.randint(jax.random.key(1), (32,), 0, 64)  # so many that the table is updated as a whole
LAID = {"few": (FEW, P("x", "y")), "few, along the second axis": (FEW, P(None, "x")), "many": (MANY, P("x"))}
TECHNIQUES = {
    "lazy": lambda n: oc.rows(oc.chain(oc.scale_by_rowwise_adagrad(), oc.scale(-0.1)), mode="lazy"),
    "decay_corrected": lambda n: oc.rows(oc.chain(oc.clip_by_global_norm(1.0), oc.adamw(0.1))),
    "accumulated": lambda n: oc.guard(oc.accumulate(oc.rows(oc.sgd(0.1), mode="exact"), 1, rows=n)),
}


def loss(params, ids):
    return jnp.sum((oc.look_up(params["embedding"], ids) @ params["w"]) ** 2)


def step_of(tx):
    def step(params, state, ids):
        _, grads = oc.row_value_and_grad(loss)(params, ids)
        return oc.apply(tx, grads, state, params)

    return jax.jit(step)


@pytest.mark.parametrize(
    "name, ids, spec",
    one_of_each(itertools.product(TECHNIQUES, LAID, [P("x"), P(None, "y"), P("x", "y"), P()]), lambda case: case[1]),
    ids=str,
)
@pytest.mark.parametrize("kind", one_of_each([AxisType.Explicit, AxisType.Auto]), ids=str)
def test_a_step_on_sharded_rows_is_that_of_one_device(name, ids, spec, kind):
    mesh = jax.make_mesh((2, 2), ("x", "y"), (kind,) * 2, devices=jax.devices()[:4])
    (ids, of_ids), params = LAID[ids], {"embedding": TABLE, "w": W}
    tx = TECHNIQUES[name](ids.size)
    expected = step_of(tx)(params, tx.init(params), ids)
    specs = {"embedding": spec, "w": P()}
    sharded = {name: jax.device_put(x, NamedSharding(mesh, specs[name])) for name, x in params.items()}
    state = tx.init(sharded)
    found = step_of(tx)(sharded, state, jax.device_put(ids, NamedSharding(mesh, of_ids)))
    for (path, x), y in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-5, err_msg=jax.tree_util.keystr(path))
    if kind == AxisType.Explicit:
        before, after = ([str(jax.typeof(x)) for x in jax.tree.leaves(tree)] for tree in ((sharded, state), found))
        assert after == before
