import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree, by_leaf, run, run_float64
from recorded_gradients import STEPS

import optchain as oc

RATE = 0.1


def swa(gs, p, start, every):
    """Algorithm 1 of the paper: the weights at the start, and those of every cycle after it."""
    mean, n = p, 1
    for t, g in enumerate(gs, 1):
        p = p - RATE * g
        if t <= start:
            mean, n = p, 1
        elif (t - start) % every == 0:
            mean, n = (mean * n + p) / (n + 1), n + 1
    return {"average": mean, "params": p}


def chained(start, every):
    return oc.chain(lr=oc.scale_by_learning_rate(RATE), average=oc.polyak_average(start, every))


@pytest.mark.parametrize("start,every", [(0, 1), (50, 7), (STEPS, 3)])
def test_agrees_with_the_paper(recorded, start, every):
    ours = run(chained(start, every), recorded)
    twin = by_leaf(swa, recorded.grads, recorded.params, start=start, every=every)
    assert_agree(oc.averaged_params(ours.state), twin["average"], PARAMS)


def test_is_exact_in_float64(recorded):
    twin = by_leaf(swa, recorded.grads, recorded.params, start=50, every=7)
    assert_agree(oc.averaged_params(run_float64(chained(50, 7), recorded).state), twin["average"], 1e-12)


@pytest.mark.oracles
def test_agrees_with_torch(recorded):
    """Its `AveragedModel`, fed with the weights at the start and after every cycle."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    ours = run(chained(20, 4), recorded)
    trees = recorded.params, recorded.grads, oc.averaged_params(ours.state)
    for p, gs, average in zip(*map(jax.tree.leaves, trees), strict=True):
        model = torch.nn.ParameterList([torch.tensor(np.asarray(p), dtype=torch.float64)])
        averaged = torch.optim.swa_utils.AveragedModel(model)
        for t, g in enumerate(torch.tensor(np.asarray(gs), dtype=torch.float64), 1):
            with torch.no_grad():
                model[0] -= RATE * g
            if t >= 20 and (t - 20) % 4 == 0:
                averaged.update_parameters(model)
        assert_agree({"a": average}, {"a": averaged.module[0].detach().numpy()}, PARAMS)


def test_the_average_of_a_line_is_its_middle():
    params, g = {"w": jnp.zeros(2)}, {"w": jnp.ones(2)}
    tx = oc.polyak_average()
    state = tx.init(params)
    for _ in range(10):
        g, state = tx.update(g, state, params)
        params = jax.tree.map(jnp.add, params, g)
    np.testing.assert_allclose(oc.averaged_params(state)["w"], 5.0)
    with pytest.raises(ValueError, match="polyak_average reads the parameters"):
        tx.update(g, state)


def test_leaves_the_update_alone(recorded):
    chex.assert_trees_all_equal(run(oc.polyak_average(3, 2), recorded, -0.1).updates, recorded.grads)
