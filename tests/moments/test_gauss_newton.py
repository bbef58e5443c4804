import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc

RATE, EVERY, STEPS = 0.02, 10, 120


def drawn(examples=8, features=4, hidden=3, classes=3):
    """Inputs, labels, and the parameters of a small network."""
    rng = np.random.default_rng(0)
    params = {
        "in": rng.normal(size=(features, hidden)),
        "out": rng.normal(size=(hidden, classes)),
        "b": np.zeros(classes),
    }
    return rng.normal(size=(examples, features)), rng.integers(0, classes, examples), params


def logits(params, x):
    return jnp.tanh(x @ params["in"]) @ params["out"] + params["b"]


def exact(params, x):
    """The diagonal of the Gauss-Newton matrix of the mean cross entropy, example by example from its definition."""
    jacobian = jax.jacobian(logits)(params, x)
    p = np.asarray(jax.nn.softmax(logits(params, x)))
    hessians = [np.diag(row) - np.outer(row, row) for row in p]

    def leaf(j):
        return np.mean([np.einsum("c...,cd,d...->...", np.asarray(j[b]), h, j[b]) for b, h in enumerate(hessians)], 0)

    return jax.tree.map(leaf, jacobian)


def test_is_right_on_average():
    """Within five standard errors of the mean of 4000 draws, measured on them."""
    x, _, params = jax.tree.map(jnp.float32, drawn())
    with jax.numpy_rank_promotion("allow"):
        one = jax.jit(jax.vmap(lambda key: oc.gauss_newton_bartlett(lambda p: logits(p, x), params, key)))
        found, wanted = one(jax.random.split(jax.random.key(0), 4000)), exact(params, x)
    for name, h in found.items():
        error = np.std(h, axis=0) / np.sqrt(len(h))
        assert np.all(np.abs(np.mean(h, axis=0) - wanted[name]) < 5 * error)
        assert np.all(h >= 0) and np.max(error / np.abs(wanted[name])) < 0.05


@pytest.mark.full
def test_is_the_squared_gradient_at_labels_of_which_all_are_tried():
    """Of one example with two classes there are two estimates; over its predictions they are the exact diagonal."""
    x, w = jnp.array([[1.0, -2.0]]), jnp.array([[0.5, 0.1], [-0.3, 0.2]])
    p = jax.nn.softmax(x @ w)[0]
    estimates = {}
    for seed in range(20):
        h = oc.gauss_newton_bartlett(lambda w: x @ w, w, jax.random.key(seed))
        label = min((0, 1), key=lambda y: float(jnp.abs(h - squared(x, p, y)).max()))
        np.testing.assert_allclose(h, squared(x, p, label), rtol=1e-5)
        estimates[label] = h
    np.testing.assert_allclose(p[0] * estimates[0] + p[1] * estimates[1], x.T**2 * (p * (1 - p))[None], rtol=1e-5)


def squared(x, p, label):
    return jnp.outer(x[0], p - jax.nn.one_hot(label, 2)) ** 2


def by_hand(x, labels, p, keys):
    """Algorithms 2 and 3 of Liu et al. in NumPy, with labels of JAX's generator."""
    b1, b2, gamma, eps = 0.965, 0.99, 0.05, 1e-8
    m, h = ({name: np.zeros_like(value) for name, value in p.items()} for _ in range(2))

    def gradient(y):
        hidden = np.tanh(x @ p["in"])
        scores = hidden @ p["out"] + p["b"]
        e = np.exp(scores - scores.max(1, keepdims=True))
        error = (e / e.sum(1, keepdims=True) - np.eye(e.shape[1])[y]) / len(x)
        back = (error @ p["out"].T) * (1 - hidden**2)
        return {"in": x.T @ back, "out": hidden.T @ error, "b": error.sum(0)}, scores

    for t, key in enumerate(keys):
        g, scores = gradient(labels)
        if t % EVERY == 0:
            drawn = np.asarray(jax.random.categorical(key, jnp.asarray(scores)))
            sampled, _ = gradient(drawn)
            h = {name: b2 * h[name] + (1 - b2) * len(x) * sampled[name] ** 2 for name in p}
        m = {name: b1 * m[name] + (1 - b1) * g[name] for name in p}
        p = {name: p[name] - RATE * np.clip(m[name] / np.maximum(gamma * h[name], eps), -1, 1) for name in p}
    return p


@pytest.mark.full
def test_sophia_g_agrees_with_the_paper():
    with jax.enable_x64(True), jax.numpy_rank_promotion("allow"):
        x, labels, start = drawn()
        given, keys = jnp.asarray(x), jax.random.split(jax.random.key(1), STEPS)
        tx = oc.sophia(RATE, gamma=0.05, weight_decay=0.0)

        def loss(p):
            return -jnp.mean(jax.nn.log_softmax(logits(p, given))[jnp.arange(len(x)), labels])

        def step(carry, told):
            (params, state), (t, key) = carry, told
            grads = jax.grad(loss)(params)
            took = jax.lax.cond(
                t % EVERY == 0,
                lambda: oc.apply(
                    tx, grads, state, params,
                    hessian=oc.gauss_newton_bartlett(lambda p: logits(p, given), params, key),
                ),
                lambda: oc.apply(tx, grads, state, params, hessian=None),
            )  # fmt: skip
            return took, None

        params = jax.tree.map(jnp.asarray, start)
        (found, _), _ = jax.jit(lambda c: jax.lax.scan(step, c, (jnp.arange(STEPS), keys)))((params, tx.init(params)))
        wanted = by_hand(x, labels, start, keys)
    chex.assert_trees_all_close(found, wanted, rtol=1e-9, atol=1e-11)


@pytest.mark.full
def test_every_axis_before_the_classes_counts_examples():
    x, _, params = jax.tree.map(jnp.float32, drawn())
    key = jax.random.key(2)
    with jax.numpy_rank_promotion("allow"):
        flat = oc.gauss_newton_bartlett(lambda p: logits(p, x), params, key)
        deep = oc.gauss_newton_bartlett(lambda p: logits(p, x.reshape(2, 4, 4)), params, key)
    chex.assert_trees_all_close(flat, deep, rtol=1e-5)


@pytest.mark.full
def test_averages_samples_keeps_dtypes_and_tells_what_is_wrong():
    params, x = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.zeros(2)}, jnp.ones((4, 3))
    fn = lambda p: x @ p["w"].astype(jnp.float32) + p["b"][None]  # noqa: E731
    key = jax.random.key(0)
    several = jax.jit(lambda p: oc.gauss_newton_bartlett(fn, p, key, samples=3))(params)
    chex.assert_trees_all_equal_shapes_and_dtypes(several, params)
    each = [oc.gauss_newton_bartlett(fn, params, k)["b"] for k in jax.random.split(key, 3)]
    np.testing.assert_allclose(several["b"], np.mean(each, axis=0), rtol=1e-5)
    with pytest.raises(ValueError, match="gauss_newton_bartlett: samples must be a whole number of at least 1, got 0"):
        oc.gauss_newton_bartlett(fn, params, key, samples=0)
    with pytest.raises(ValueError, match="gauss_newton_bartlett: the logits are a scalar"):
        oc.gauss_newton_bartlett(lambda p: p["b"].sum(), params, key)
