import jax
import numpy as np
import pytest
from agreement import SLOTS, assert_agree, by_leaf, run, run_float64

import optchain as oc


def grokfast(gs, p, alpha=0.98, lamb=2.0):
    """Grokfast-EMA; the mean begins as the first gradient, as in the authors' code."""
    mu, us = gs[0], []
    for g in gs:
        mu = alpha * mu + (1 - alpha) * g
        us.append(g + lamb * mu)
    return {"mu": mu, "updates": np.stack(us)}


def test_agrees_with_the_paper(recorded):
    ours, twin = run(oc.grokfast_ema(), recorded), by_leaf(grokfast, recorded.grads, recorded.params)
    assert_agree(ours.state["mu"], twin["mu"], SLOTS)
    assert_agree(ours.updates, twin["updates"], SLOTS)


def test_is_exact_in_float64(recorded):
    twin = by_leaf(grokfast, recorded.grads, recorded.params)
    assert_agree(run_float64(oc.grokfast_ema(), recorded).updates, twin["updates"], 1e-12)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer(recorded):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    filters = pytest.importorskip("pytorch_optimizer.optimizer.grokfast", reason="it is in the extra `oracles`")
    ours = run(oc.grokfast_ema(0.9, 3.0), recorded)
    grads, treedef = jax.tree.flatten(recorded.grads)
    model = torch.nn.ParameterList([torch.zeros(g.shape[1:], dtype=torch.float64) for g in grads])
    seen, means = [], None
    for t in range(len(grads[0])):
        for p, g in zip(model, grads, strict=True):
            p.grad = torch.tensor(np.asarray(g[t]), dtype=torch.float64)
        means = filters.gradfilter_ema(model, means, alpha=0.9, lamb=3.0)
        seen.append([p.grad.numpy().copy() for p in model])
    assert_agree(ours.updates, treedef.unflatten([np.stack(x) for x in zip(*seen, strict=True)]), SLOTS)
