import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc

RATE, EVERY = 0.05, 3


def equations(gs, p, beta):
    """Equations 5 and 6 of the paper, every few steps, around SGD: gradients (steps, workers, ...)."""
    own, center = p.copy(), p.mean(0)
    for t, g in enumerate(gs):
        new = own - RATE * g
        if t % EVERY == 0:
            new = new - beta / len(p) * (own - center)
            center = (1 - beta) * center + beta * own.mean(0)
        own = new
    return own, center


def alone(gs, p, beta=0.9):
    own, center = equations(gs[:, None], p[None], beta)
    return {"params": own[0], "center": center}


def test_one_worker_agrees_with_the_paper(recorded):
    tx = oc.elastic_average(oc.sgd(RATE), EVERY)
    ours, twin = run(tx, recorded), by_leaf(alone, recorded.grads, recorded.params)
    assert_agree(ours.params, twin["params"], PARAMS)
    assert_agree(oc.averaged_params(ours.state), twin["center"], PARAMS)
    assert_agree(run_float64(tx, recorded).params, twin["params"], 1e-6)  # its rate is a float32 number


@pytest.mark.parametrize("how", ["shard_map", "vmap"])
def test_four_workers_that_begin_apart_agree_with_the_paper(how):
    p = {"w": np.arange(24.0).reshape(4, 2, 3) / 3, "b": np.arange(8.0).reshape(4, 2)}
    gs = {name: np.random.default_rng(0).normal(size=(4, 10, *x.shape[1:])) for name, x in p.items()}
    tx = oc.elastic_average(oc.guard(oc.sgd(RATE)), EVERY, 0.8, axis="worker")

    def steps(p, gs):
        carry = jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), (p, tx.init(p)), gs)[0]
        return carry[0], oc.averaged_params(carry[1])

    def worker(p, gs):
        own, center = steps(*jax.tree.map(lambda x: x[0], (p, gs)))
        return jax.tree.map(lambda x: x[None], own), center  # the center is the same everywhere

    given = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), (p, gs))
    if how == "vmap":
        own, center = jax.jit(jax.vmap(steps, axis_name="worker"))(*given)
        center = jax.tree.map(lambda x: x[0], center)
    else:
        mesh = jax.make_mesh((4,), ("worker",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
        specs = {"in_specs": jax.P("worker"), "out_specs": (jax.P("worker"), jax.P())}
        own, center = jax.jit(jax.shard_map(worker, mesh=mesh, **specs))(*given)
    for name in p:
        expected = equations(np.swapaxes(gs[name], 0, 1), p[name], 0.8)
        assert_agree((own[name], center[name]), expected, PARAMS)


def test_without_elasticity_workers_are_alone():
    params, tx = {"w": jnp.ones(2)}, oc.elastic_average(oc.sgd(0.1), 1, moving_rate=0.0)
    after, state = oc.apply(tx, params, tx.init(params), params)
    np.testing.assert_allclose(after["w"], 0.9)
    np.testing.assert_array_equal(oc.averaged_params(state)["w"], params["w"])
    assert oc.metrics(state)["elastic_average.count"] == 1


def test_workers_need_an_axis():
    params = {"w": jnp.ones(2)}
    tx = oc.elastic_average(oc.sgd(0.1), 2, axis="worker")
    with pytest.raises(ValueError, match="elastic_average: there are no workers along 'worker' here; step inside"):
        oc.apply(tx, params, tx.init(params), params)
    with pytest.raises(ValueError, match="elastic_average: axis must be the name of a mesh axis"):
        oc.elastic_average(oc.sgd(0.1), 2, axis=("worker", 3))


@pytest.mark.parametrize("changes", [{"every": 0}, {"moving_rate": 1.5}])
def test_a_bad_number_is_refused(changes):
    with pytest.raises(ValueError, match=f"elastic_average: {next(iter(changes))} must"):
        oc.elastic_average(oc.sgd(0.1), **{"every": 2, **changes})
