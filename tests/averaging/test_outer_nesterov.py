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


def test_its_numbers_and_metrics_have_names():
    params = {"w": jnp.ones(2)}
    tx = oc.outer_nesterov(oc.sgd(0.1), 1)
    assert numbers_of(tx) == ["lr.learning_rate", "outer.momentum.decay", "outer.lr.learning_rate"]
    _, state = oc.apply(tx, params, tx.init(params), params, hyper={"outer.lr.learning_rate": 1.0})
    found = oc.metrics(state)
    assert found["outer.lr.learning_rate"] == 1.0 and found["lr.learning_rate"] == np.float32(0.1)
    assert found["outer_nesterov.count"] == 0
