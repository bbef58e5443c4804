import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree
from perturbed_runs import descended, drawn, gradient, trained

import optchain as oc

RATE, RHO, ALPHA = 0.1, 0.3, 0.4


def inner(a, b):
    return sum((a[name] * b[name]).sum() for name in a)


def law(t, params, grad):
    """Algorithm 1 of the paper for one radius."""
    g = grad(params)
    norm = np.sqrt(inner(g, g))
    worst = grad({name: p + RHO * g[name] / norm for name, p in params.items()})
    along = inner(g, worst) / inner(worst, worst)
    return {name: x - ALPHA * (g[name] - along * x) for name, x in worst.items()}


def gsam(alpha=ALPHA):
    return oc.gsam(oc.sgd(RATE), RHO, alpha)


def test_agrees_with_the_paper():
    assert_agree(trained(gsam())[0], descended(law, RATE), PARAMS)


def test_is_exact_in_float64():
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, trained(gsam(), jnp.float64)[0])
    assert_agree(found, descended(law, RATE), 1e-12)


def test_without_weight_it_is_sam():
    chex.assert_trees_all_equal(trained(gsam(0.0))[0], trained(oc.sam(oc.sgd(RATE), rho=RHO))[0])


class Radius:
    """The schedule that the twin asks for its radius."""

    def step(self):
        return RHO


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    start, xs, ys = drawn()
    params = {name: torch.tensor(p, requires_grad=True) for name, p in start.items()}
    base = torch.optim.SGD(list(params.values()), lr=RATE)
    optimizer = optimizers.GSAM(list(params.values()), base, torch.nn.Identity(), Radius(), alpha=ALPHA)

    def fill(x, y):
        grads = gradient({name: p.detach().numpy() for name, p in params.items()}, x, y)
        for name, p in params.items():
            p.grad = torch.tensor(grads[name])
        return None, torch.zeros(())

    for x, y in zip(xs, ys, strict=True):
        optimizer.step(lambda x=x, y=y: fill(x, y))
    twin = {name: p.detach().numpy() for name, p in params.items()}
    assert_agree(trained(gsam())[0], twin, PARAMS)


def test_the_added_part_is_perpendicular_to_the_second_gradient():
    params, g, worst = {"w": jnp.zeros(2)}, {"w": jnp.array([3.0, 4.0])}, {"w": jnp.array([2.0, 0.0])}
    tx = oc.gsam(oc.scale(1.0), alpha=0.5)
    u, _ = tx.update(g, tx.init(params), params, grad_fn=lambda p: worst)
    np.testing.assert_allclose(u["w"], [2.0, -2.0], rtol=1e-6)


def test_schedules_read_the_step_and_bfloat16_stays():
    late = oc.gsam(oc.sgd(RATE), RHO, lambda step: jnp.where(step < 1000, 0.0, ALPHA))
    chex.assert_trees_all_close(trained(late)[0], trained(gsam(0.0))[0], rtol=1e-6)
    params, _ = trained(gsam(), jnp.bfloat16)
    chex.assert_trees_all_equal_dtypes(params, jax.tree.map(jnp.bfloat16, drawn()[0]))


def test_what_is_missing_is_named():
    params, tx = {"w": jnp.ones(2)}, gsam()
    with pytest.raises(ValueError, match=r"gsam computes gradients at other parameters: .* grad_fn=lambda params"):
        tx.update(params, tx.init(params), params)
    for name in ("rho", "alpha"):
        for bad in (-1.0, float("nan")):
            with pytest.raises(ValueError, match=f"gsam: {name} must lie in"):
                oc.gsam(oc.sgd(0.1), **{name: bad})
