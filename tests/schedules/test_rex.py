"""REX against the paper's profile and pytorch_optimizer."""

import chex
import numpy as np
import pytest

import optchain as oc

STEPS = np.arange(150)


@pytest.mark.parametrize("end", [0.0, 0.3, 2.0])
@pytest.mark.parametrize("steps", [1, 41, 100])
def test_agrees_with_the_paper(steps, end):
    x = np.minimum(STEPS / steps, 1)
    exact = end + (1.0 - end) * (1 - x) / (0.5 + 0.5 * (1 - x))
    chex.assert_trees_all_close(oc.rex(1.0, steps, end)(STEPS), exact, rtol=0, atol=2e-6)


def test_lies_above_the_line():
    assert np.all(oc.rex(1.0, 100)(STEPS[1:100]) > oc.linear(1.0, 0.0, 100)(STEPS[1:100]) + 1e-3)


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    module = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    scheduler = module.REXScheduler(optimizer, total_steps=100, max_lr=1.0, min_lr=0.1)
    # It sets the rate in a call of its own, the first of them in its constructor.
    theirs = [scheduler.step() for _ in STEPS[1:]]
    chex.assert_trees_all_close(oc.rex(1.0, 100, 0.1)(STEPS[1:]), np.asarray(theirs), rtol=0, atol=2e-6)
