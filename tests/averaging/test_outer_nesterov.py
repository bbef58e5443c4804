import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64

import optchain as oc
from optchain.core.walk import numbers_of

RATE, EVERY = 0.05, 4


def diloco(gs, p, momentum=0.9, rate=0.7):
    """Algorithm 1 of the paper with one worker, SGD within and Nesterov's momentum without."""
    outer, inner, v = p, p, np.zeros_like(p)
    for t, g in enumerate(gs, 1):
        inner = inner - RATE * g
        if t % EVERY == 0:
            delta = outer - inner
            v = momentum * v + delta
            inner = outer = outer - rate * (delta + momentum * v)
    return {"params": inner, "outer": outer, "v": v}


def test_agrees_with_the_paper(recorded):
    ours = run(oc.outer_nesterov(oc.sgd(RATE), EVERY), recorded)
    twin = by_leaf(diloco, recorded.grads, recorded.params)
    assert_agree(ours.params, twin["params"], PARAMS)
    assert_agree(oc.averaged_params(ours.state), twin["outer"], PARAMS)


def test_is_exact_in_float64(recorded):
    ours = run_float64(oc.outer_nesterov(oc.sgd(RATE), EVERY), recorded)
    twin = by_leaf(diloco, recorded.grads, recorded.params)
    assert_agree(ours.params, twin["params"], 1e-12)
    assert_agree(ours.state["others"]["outer"]["links"]["momentum"]["trace"]["trace"], twin["v"], 1e-12)


@pytest.mark.oracles
def test_the_outer_step_is_that_of_torch(recorded):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    ours = run(oc.outer_nesterov(oc.sgd(RATE), EVERY), recorded)
    for p, gs, found in zip(*map(jax.tree.leaves, (*recorded, ours.params)), strict=True):
        outer = torch.tensor(np.asarray(p), dtype=torch.float64, requires_grad=True)
        optimizer, inner = torch.optim.SGD([outer], lr=0.7, momentum=0.9, nesterov=True), outer.detach().clone()
        for t, g in enumerate(torch.tensor(np.asarray(gs), dtype=torch.float64), 1):
            inner -= RATE * g
            if t % EVERY == 0:
                outer.grad = outer.detach() - inner
                optimizer.step()
                inner = outer.detach().clone()
        assert_agree({"p": found}, {"p": inner.numpy()}, PARAMS)


def test_without_momentum_it_is_lookahead(recorded):
    ours = run(oc.outer_nesterov(oc.adam(0.01), 3, momentum=0.0, learning_rate=0.5), recorded)
    assert_agree(ours.params, run(oc.lookahead(oc.adam(0.01), 3, 0.5), recorded).params, PARAMS)


def of_workers(gs, p, steps=10, workers=4):
    """Algorithm 1 of the paper in float64: clipped SGD within, Nesterov's momentum without."""
    outer = {name: np.asarray(x, np.float64) for name, x in p.items()}
    fast, v = [dict(outer) for _ in range(workers)], {name: 0 * x for name, x in outer.items()}
    for t in range(steps):
        for i, own in enumerate(fast):
            g = {name: np.asarray(x[i, t], np.float64) for name, x in gs.items()}
            factor = min(1, 1 / np.sqrt(sum((x**2).sum() for x in g.values())))
            for name in own:
                own[name] = own[name] - RATE * factor * g[name]
        if (t + 1) % EVERY == 0:
            for name in outer:
                delta = np.mean([outer[name] - own[name] for own in fast], 0)
                v[name] = 0.9 * v[name] + delta
                outer[name] = outer[name] - 0.7 * (delta + 0.9 * v[name])
            fast = [dict(outer) for _ in fast]
    return {name: np.stack([own[name] for own in fast]) for name in outer}, outer


@pytest.mark.parametrize("how", ["shard_map", "vmap"])
def test_four_workers_agree_with_the_paper(how):
    p = {"w": jnp.arange(6.0).reshape(2, 3) / 3, "b": jnp.ones(2)}
    gs = {name: jax.random.normal(jax.random.key(i), (4, 10, *x.shape)) for i, (name, x) in enumerate(p.items())}
    inner = oc.guard(oc.chain(oc.clip_by_global_norm(1.0), oc.sgd(RATE)))
    tx = oc.outer_nesterov(inner, EVERY, axis="worker")

    def steps(p, gs):
        carry = jax.lax.scan(lambda c, g: (oc.apply(tx, g, c[1], c[0]), None), (p, tx.init(p)), gs)[0]
        return carry[0], oc.averaged_params(carry[1])

    def worker(p, gs):
        fast, outer = steps(*jax.tree.map(lambda x: x[0], (p, gs)))
        return jax.tree.map(lambda x: x[None], fast), outer  # the outer weights are the same everywhere

    start = jax.tree.map(lambda x: jnp.stack([x] * 4), p)
    if how == "vmap":
        fast, outer = jax.jit(jax.vmap(steps, axis_name="worker"))(start, gs)
        outer = jax.tree.map(lambda x: x[0], outer)
    else:
        mesh = jax.make_mesh((4,), ("worker",), (jax.sharding.AxisType.Auto,), devices=jax.devices()[:4])
        specs = {"in_specs": jax.P("worker"), "out_specs": (jax.P("worker"), jax.P())}
        mapped = jax.jit(jax.shard_map(worker, mesh=mesh, **specs))
        fast, outer = mapped(start, gs)
        # One mean of all parameters where the workers meet, and nothing else.
        assert str(jax.make_jaxpr(mapped)(start, gs)).count("psum") <= 2 * len(p)
    expected = of_workers(gs, p)
    assert_agree(fast, expected[0], PARAMS)
    assert_agree(outer, expected[1], PARAMS)


def test_workers_need_an_axis():
    params = {"w": jnp.ones(2)}
    tx = oc.outer_nesterov(oc.sgd(0.1), 2, axis="worker")
    with pytest.raises(ValueError, match="there are no workers along 'worker' here; step inside jax.shard_map"):
        oc.apply(tx, params, tx.init(params), params)
    with pytest.raises(ValueError, match="axis must be the name of a mesh axis"):
        oc.outer_nesterov(oc.sgd(0.1), 2, axis=("worker", 3))


def test_its_numbers_and_metrics_have_names():
    params = {"w": jnp.ones(2)}
    tx = oc.outer_nesterov(oc.sgd(0.1), 1)
    assert numbers_of(tx) == ["lr.learning_rate", "outer.momentum.decay", "outer.lr.learning_rate"]
    _, state = oc.apply(tx, params, tx.init(params), params, hyper={"outer.lr.learning_rate": 1.0})
    found = oc.metrics(state)
    assert found["outer.lr.learning_rate"] == 1.0 and found["lr.learning_rate"] == np.float32(0.1)
    assert found["outer_nesterov.count"] == 0
