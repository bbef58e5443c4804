import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from agreement import assert_agree, by_leaf, run, run_float64
from recorded_gradients import Recorded
from techniques import own
from tiers import one_of_each

import optchain as oc
from optchain.matrices.kron import lower_bound

OPTIONS = [{}, {"b1": 0.0, "precond_lr": 0.3, "every": 2, "seed": 5}]


def gradients(rows=5, columns=4, steps=100):
    rng = np.random.default_rng(0)
    u, v = rng.normal(size=(rows, rows)), rng.normal(size=(columns, columns))
    grads = u @ rng.normal(size=(steps, rows, columns)) @ v
    return Recorded({"w": jnp.zeros((rows, columns))}, {"w": jnp.asarray(grads, jnp.float32)})


def noise(seed, t, shape):
    with jax.enable_x64(True):
        return np.asarray(jax.random.normal(jax.random.fold_in(jax.random.key(seed), t), shape, "float64"))


def bound(a):
    x = a @ a[:, np.argmax((a**2).sum(axis=0))]
    return np.linalg.norm(a @ x / np.linalg.norm(x))


def paper(gs, b1=0.9, precond_lr=0.1, every=1, seed=0):
    """The whitening step of Li for a product of two triangular groups, without balancing."""
    shape = gs.shape[1:]
    m, (ql, qr), updates = np.zeros(shape), (np.eye(n) for n in shape), []
    for t, g in enumerate(gs, 1):
        m = b1 * m + (1 - b1) * g
        mean = m / (1 - b1**t)
        if (t - 1) % every == 0:
            a = ql @ mean @ qr.T
            b = np.linalg.inv(ql).T @ noise(seed, t, shape) @ np.linalg.inv(qr)
            left, right = np.triu(a @ a.T - b @ b.T) @ ql, np.triu(a.T @ a - b.T @ b) @ qr
            ql = ql - precond_lr * left / bound(a @ a.T + b @ b.T)
            qr = qr - precond_lr * right / bound(a.T @ a + b.T @ b)
        u = ql.T @ ql @ mean @ qr.T @ qr
        updates.append(u * min(1.1 / np.sqrt((u**2).mean()), 1))
    return {"updates": np.stack(updates), "mu": m, "product": np.kron(ql, qr)}


@pytest.mark.parametrize("options", one_of_each(OPTIONS), ids=str)
def test_is_exact_in_float64(options):
    """Balancing changes the factors, not their product."""
    given = gradients()
    ours, twin = run_float64(oc.scale_by_kron(**options), given), by_leaf(paper, given.grads, **options)
    assert_agree(ours.state["mu"], twin["mu"], 1e-12)
    assert_agree(ours.updates, twin["updates"], 1e-9)
    product = np.kron(ours.state["left"]["w"], ours.state["right"]["w"])
    np.testing.assert_allclose(product, twin["product"]["w"], atol=1e-9 * np.abs(product).max())
    for side in ("left", "right"):
        assert not np.tril(ours.state[side]["w"], -1).any()


@pytest.mark.oracles
def test_agrees_with_pytorch_optimizer_given_its_noise(monkeypatch):
    """Their guard in the norm's divisor, 1e-38, and on the clip, 1e-6, are all that differs."""
    torch = pytest.importorskip("torch", reason="torch is in the extra `oracles`")
    library = pytest.importorskip("pytorch_optimizer", reason="pytorch_optimizer is in the extra `oracles`")
    module, given, step = importlib.import_module("pytorch_optimizer.optimizer.psgd"), gradients(), [0]

    def drawn(like, dtype=None):
        step[0] += 1
        return torch.tensor(noise(0, step[0], like.shape), dtype=torch.float64)

    monkeypatch.setattr(module.torch, "randn_like", drawn)
    monkeypatch.setattr(torch.Tensor, "float32", torch.float64, raising=False)
    p = torch.zeros(5, 4, dtype=torch.float64, requires_grad=True)
    optimizer = library.Kron(
        [p], lr=0.01, pre_conditioner_update_probability=1.0, balance_prob=0.0, precondition_dtype=torch.float64
    )
    for g in np.asarray(given.grads["w"], np.float64):
        p.grad = torch.tensor(g)
        optimizer.step()
    ours = run_float64(oc.scale_by_kron(), given, -0.01)
    # It solves with the triangular factors in float32.
    assert_agree(ours.params, {"w": p.detach().numpy()}, 1e-3)


def diagonal(gs, long, precond_lr=0.1):
    """The same for a diagonal group on the first side, and on the second where that is long too."""
    shape = gs.shape[1:]
    m, (ql, qr), updates = np.zeros(shape), (np.eye(n) for n in shape), []
    for t, g in enumerate(gs, 1):
        m = 0.9 * m + 0.1 * g
        mean = m / (1 - 0.9**t)
        a, b = ql @ mean @ qr.T, np.linalg.inv(ql).T @ noise(0, t, shape) @ np.linalg.inv(qr)
        sides = []
        for q, x, y, is_long in ((ql, a, b, True), (qr, a.T, b.T, long == 2)):
            difference, total = x @ x.T - y @ y.T, x @ x.T + y @ y.T
            if is_long:
                q = q - precond_lr * np.diag(np.diag(difference)) @ q / np.diag(total).max()
            else:
                q = q - precond_lr * np.triu(difference) @ q / bound(total)
            sides.append(q)
        ql, qr = sides
        u = ql.T @ ql @ mean @ qr.T @ qr
        updates.append(u * min(1.1 / np.sqrt((u**2).mean()), 1))
    return {"updates": np.stack(updates), "product": np.kron(ql, qr)}


@pytest.mark.parametrize("long, max_dim", [(1, 4), (2, 3)])
def test_factors_of_long_sides_are_diagonal(long, max_dim):
    given = gradients(5, 4)
    ours, twin = run_float64(oc.scale_by_kron(max_dim=max_dim), given), by_leaf(diagonal, given.grads, long=long)
    left, right = (ours.state[side]["w"] for side in ("left", "right"))
    assert left.shape == (5,) and right.shape == ((4, 4) if long == 1 else (4,))
    assert_agree(ours.updates, {"w": twin["updates"]["w"]}, 1e-9)
    product = np.kron(np.diag(left), np.diag(right) if long == 2 else right)
    np.testing.assert_allclose(product, twin["product"]["w"], atol=1e-9 * np.abs(product).max())


def test_whitens_gradients_of_a_fixed_covariance():
    """The fixed point of P = Q^T Q is the inverse root of the covariance, so that P g is white up to noise."""
    given = gradients(steps=4000)
    tx = oc.scale_by_kron(b1=0.0, precond_lr=0.02)
    state = run(tx, given).state
    left, right = (np.asarray(state[side]["w"], np.float64) for side in ("left", "right"))
    g = np.asarray(given.grads["w"], np.float64)

    def condition(x):
        return np.linalg.cond(np.cov(x.reshape(len(x), -1).T))

    assert condition(g) > 1000 > 5 > condition(left.T @ left @ g @ right.T @ right)


def test_the_bound_is_below_the_largest_eigenvalue_and_not_far():
    for seed in range(20):
        x = np.random.default_rng(seed).normal(size=(6, 6))
        a = x @ x.T
        largest = np.linalg.eigvalsh(a)[-1]
        assert 0.5 * largest < float(lower_bound(jnp.asarray(a, jnp.float32))) <= largest * (1 + 1e-5)


def test_factors_rest_where_there_is_no_gradient():
    tx, p = oc.scale_by_kron(), jnp.zeros((3, 2))
    state = tx.init(p)
    for _ in range(3):
        u, state = tx.update(p, state)
    assert not u.any() and (own(state)["left"] == jnp.eye(3)).all() and (own(state)["right"] == jnp.eye(2)).all()


def test_wrong_arguments_are_told():
    for name in ("every", "max_dim"):
        with pytest.raises(ValueError, match=f"scale_by_kron: {name} must be a whole number of at least 1, got 0"):
            oc.scale_by_kron(**{name: 0}).init(jnp.ones((2, 2)))
