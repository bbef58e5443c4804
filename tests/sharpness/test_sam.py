import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from agreement import PARAMS, assert_agree
from perturbed_runs import by_hand, drawn, gradient, loss, trained

import optchain as oc

RATE, RHO = 0.1, 0.3


def perturbed(params, grads):
    """Equation 2 of the paper with p = 2."""
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    return {name: p + RHO * grads[name] / norm for name, p in params.items()}


def sam():
    return oc.sam(oc.sgd(RATE), rho=RHO)


def test_agrees_with_the_paper():
    assert_agree(trained(sam())[0], by_hand(perturbed, RATE), PARAMS)


def test_is_exact_in_float64():
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, trained(sam(), jnp.float64)[0])
    assert_agree(found, by_hand(perturbed, RATE), 1e-12)


def test_agrees_with_optax():
    """Its opaque mode, which normalizes by an adversarial optimizer and wants `grad_fn` with a step index."""
    adversary = optax.chain(optax.contrib.normalize(), optax.sgd(RHO))
    tx = optax.contrib.sam(optax.sgd(RATE), adversary, sync_period=2, opaque_mode=True)
    params, xs, ys = jax.tree.map(jnp.float32, drawn())

    def step(carry, batch):
        params, state = carry
        grads = jax.grad(loss)(params, *batch)
        updates, state = tx.update(grads, state, params, grad_fn=lambda p, _: jax.grad(loss)(p, *batch))
        return (optax.apply_updates(params, updates), state), None

    (theirs, _), _ = jax.jit(lambda c, b: jax.lax.scan(step, c, b))((params, tx.init(params)), (xs, ys))
    assert_agree(trained(sam())[0], theirs, PARAMS)


@pytest.mark.oracles
@pytest.mark.parametrize("rho", [0.05, 0.3])
def test_agrees_with_pytorch_optimizer(rho):
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    start, xs, ys = drawn()
    params = {name: torch.tensor(p, requires_grad=True) for name, p in start.items()}
    optimizer = optimizers.SAM(list(params.values()), torch.optim.SGD, rho=rho, lr=RATE)

    def fill(x, y):
        grads = gradient({name: p.detach().numpy() for name, p in params.items()}, x, y)
        for name, p in params.items():
            p.grad = torch.tensor(grads[name])

    for x, y in zip(xs, ys, strict=True):
        fill(x, y)
        optimizer.step(lambda x=x, y=y: fill(x, y))
    twin = {name: p.detach().numpy() for name, p in params.items()}
    assert_agree(trained(oc.sam(oc.sgd(RATE), rho=rho))[0], twin, PARAMS)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e15])
def test_the_perturbation_is_as_long_as_rho_whatever_the_gradient(size):
    params, g = {"w": jnp.array([1.0, 2.0])}, {"w": size * jnp.array([3.0, 4.0])}
    seen = []
    tx = oc.sam(oc.scale(1.0), rho=0.5)
    tx.update(g, tx.init(params), params, grad_fn=lambda p: seen.append(p) or p)
    np.testing.assert_allclose(seen[0]["w"], [1.3, 2.4], rtol=1e-6)


def test_it_works_within_chains_guards_and_accumulation():
    wrapped = oc.guard(oc.accumulate(oc.chain(sam=sam(), scale=oc.scale(1.0)), 1))
    chex.assert_trees_all_close(trained(wrapped)[0], trained(sam())[0], rtol=1e-5, atol=1e-6)


def test_a_schedule_of_the_radius_reads_the_step():
    late = oc.sam(oc.sgd(RATE), rho=lambda step: jnp.where(step < 1000, 0.0, RHO))
    chex.assert_trees_all_close(trained(late)[0], trained(oc.sgd(RATE))[0], rtol=1e-5, atol=1e-6)


def test_what_is_missing_is_named():
    params, tx = {"w": jnp.ones(2)}, sam()
    with pytest.raises(ValueError, match=r"sam computes gradients at other parameters: .* grad_fn=lambda params"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="sam reads the parameters"):
        tx.update(params, tx.init(params), grad_fn=lambda p: p)
    with pytest.raises(ValueError, match="sam: the results of grad_fn lack a leaf|have a leaf 'w' that the results"):
        tx.update(params, tx.init(params), params, grad_fn=lambda p: {})
    with pytest.raises(ValueError, match="sam: rho must lie in"):
        oc.sam(oc.sgd(0.1), rho=-1.0)
