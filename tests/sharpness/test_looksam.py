import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import PARAMS, assert_agree
from perturbed_runs import STEPS, descended, drawn, gradient, loss, trained

import optchain as oc

RATE, RHO, K, ALPHA = 0.1, 0.3, 5, 0.7


def inner(a, b):
    return sum((a[name] * b[name]).sum() for name in a)


class Law:
    """Algorithm 1 of the paper."""

    def __call__(self, t, params, grad):
        g = grad(params)
        norm = np.sqrt(inner(g, g))
        if t % K == 0:
            worst = grad({name: p + RHO * g[name] / norm for name, p in params.items()})
            self.v = {name: x - inner(worst, g) / norm**2 * g[name] for name, x in worst.items()}
            return worst
        factor = ALPHA * norm / np.sqrt(inner(self.v, self.v))
        return {name: x + factor * self.v[name] for name, x in g.items()}


def looksam(k=K):
    return oc.looksam(oc.sgd(RATE), RHO, k, ALPHA)


def test_agrees_with_the_paper():
    assert_agree(trained(looksam())[0], descended(Law(), RATE), PARAMS)


def test_is_exact_in_float64():
    with jax.enable_x64(True):
        found = jax.tree.map(np.asarray, trained(looksam(), jnp.float64)[0])
    assert_agree(found, descended(Law(), RATE), 1e-12)


def test_with_k_1_it_is_sam():
    chex.assert_trees_all_equal(trained(looksam(1))[0], trained(oc.sam(oc.sgd(RATE), rho=RHO))[0])


def kernels_only(tx):
    """The kernel after all steps; the other parameters stay, for the twin decomposes each array by itself."""
    start, xs, ys = jax.tree.map(jnp.float32, drawn())

    def step(carry, batch):
        kernel, state = carry
        grad = jax.grad(lambda kernel: loss(start | {"kernel": kernel}, *batch))
        return oc.apply(tx, grad(kernel), state, kernel, grad_fn=grad), None

    kernel = start["kernel"]
    return jax.jit(lambda c, b: jax.lax.scan(step, c, b)[0])((kernel, tx.init(kernel)), (xs, ys))[0]


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer():
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    optimizers = pytest.importorskip("pytorch_optimizer", reason="it is in the extra `oracles`")
    start, xs, ys = drawn()
    kernel = torch.tensor(start["kernel"], requires_grad=True)
    optimizer = optimizers.LookSAM([kernel], torch.optim.SGD, rho=RHO, k=K, alpha=ALPHA, lr=RATE)

    def fill(x, y):
        kernel.grad = torch.tensor(gradient(start | {"kernel": kernel.detach().numpy()}, x, y)["kernel"])

    for x, y in zip(xs, ys, strict=True):
        fill(x, y)
        optimizer.step(lambda x=x, y=y: fill(x, y))
    assert_agree(kernels_only(looksam()), kernel.detach().numpy(), PARAMS)


def test_the_second_gradient_is_computed_at_every_kth_step_only():
    calls = []
    params, *batches = jax.tree.map(jnp.float32, drawn())
    tx = looksam()

    def step(carry, batch):
        params, state = carry

        def grad_fn(p):
            jax.debug.callback(lambda: calls.append(1))
            return jax.grad(loss)(p, *batch)

        return oc.apply(tx, jax.grad(loss)(params, *batch), state, params, grad_fn=grad_fn), None

    jax.block_until_ready(jax.jit(lambda c, b: jax.lax.scan(step, c, b)[0])((params, tx.init(params)), tuple(batches)))
    jax.effects_barrier()
    assert len(calls) == STEPS // K


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e15])
def test_the_reused_part_is_as_long_as_alpha_says_whatever_the_gradient(size):
    params, g = {"w": jnp.zeros(2)}, {"w": size * jnp.array([3.0, 4.0])}
    tx = oc.looksam(oc.scale(1.0), k=2, alpha=0.5)
    _, state = tx.update(g, tx.init(params), params, grad_fn=lambda p: {"w": size * jnp.array([0.0, 1.0])})
    u, _ = tx.update(g, state, params, grad_fn=lambda p: p)
    np.testing.assert_allclose(u["w"] / size, jnp.array([3.0, 4.0]) + 2.5 * jnp.array([-0.8, 0.6]), rtol=1e-5)


def test_it_works_within_chains_guards_and_accumulation_and_on_bfloat16():
    wrapped = oc.guard(oc.accumulate(oc.chain(looksam=looksam(), scale=oc.scale(1.0)), 1))
    chex.assert_trees_all_close(trained(wrapped)[0], trained(looksam())[0], rtol=1e-5, atol=1e-6)
    params, state = trained(looksam(), jnp.bfloat16)
    chex.assert_trees_all_equal_dtypes(params, jax.tree.map(jnp.bfloat16, drawn()[0]))
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state["looksam"]["flat"]))


def test_what_is_missing_is_named():
    params, tx = {"w": jnp.ones(2)}, looksam()
    with pytest.raises(ValueError, match=r"looksam computes gradients at other parameters: .* grad_fn=lambda params"):
        tx.update(params, tx.init(params), params)
    with pytest.raises(ValueError, match="looksam: k must be a whole number of at least 1, got 0"):
        oc.looksam(oc.sgd(0.1), k=0)
    for name in ("rho", "alpha"):
        for bad in (-1.0, float("nan")):
            with pytest.raises(ValueError, match=f"looksam: {name} must lie in"):
                oc.looksam(oc.sgd(0.1), **{name: bad})
