"""Averaged SGD; the tests of the others stand with their techniques."""

import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from tiers import one_of_each
from torch_twin import run_torch

import optchain as oc

OPTIONS = [{"start": 2}, {"lambd": 0.5, "alpha": 1.0, "start": 100}]


def paper(gs, p, learning_rate, lambd=1e-4, alpha=0.75, start=1):
    """Section 2 and 5 of Xu: SGD on the regularized loss, and the mean of the parameters since the update `start`."""
    seen = []
    for t, g in enumerate(gs):
        p = p - learning_rate / (1 + lambd * learning_rate * t) ** alpha * (g + lambd * p)
        seen.append(p)
    return {"params": p, "average": np.mean(seen[start - 1 :], axis=0)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_agrees_with_the_paper(recorded, options):
    twin = by_leaf(paper, recorded.grads, recorded.params, learning_rate=0.5, **options)
    for runner, tol in ((run, PARAMS), (run_float64, 1e-6)):  # a schedule is float32 everywhere
        ours = runner(oc.asgd(0.5, **options), recorded)
        assert_agree(ours.params, twin["params"], tol)
        assert_agree(oc.averaged_params(ours.state), twin["average"], tol)


@pytest.mark.oracles
def test_agrees_with_torch(recorded):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    params, slots = run_torch(lambda p: torch.optim.ASGD(p, lr=0.5, lambd=0.01, alpha=0.75, t0=50), recorded)
    ours = run(oc.asgd(0.5, lambd=0.01, start=52), recorded)
    assert_agree(ours.params, params, PARAMS)
    assert_agree(oc.averaged_params(ours.state), slots["ax"], PARAMS)


def test_refuses_a_schedule():
    with pytest.raises(ValueError, match="asgd: learning_rate and lambd must be scalars, got a schedule"):
        oc.asgd(oc.linear(0.1, 0.0, 10))
