"""Two hundred real gradients: of a small network that learns to read digits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_digits

STEPS, BATCH, RATE = 200, 32, 0.1


class Recorded(NamedTuple):
    params: Any  # {"dense": {"kernel", "bias"}, "out": {"kernel", "bias"}}, float32, before the first step
    grads: Any  # the same tree, with a leading axis of STEPS


def loss(params, images, labels):
    hidden = jax.nn.relu(images @ params["dense"]["kernel"] + params["dense"]["bias"][None])
    logits = hidden @ params["out"]["kernel"] + params["out"]["bias"][None]
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


@jax.jit
def record(params, images, labels, batches):
    """The gradients that plain SGD meets on its way through the batches."""

    def step(params, batch):
        grads = jax.grad(loss)(params, images[batch], labels[batch])
        return jax.tree.map(lambda p, g: p - RATE * g, params, grads), grads

    return jax.lax.scan(step, params, batches)[1]


@pytest.fixture(scope="session")
def recorded() -> Recorded:
    """Real gradients; some of their entries are 0 at every step, for some pixels are blank in every image."""
    digits = load_digits()
    images = jnp.asarray(digits.data / 16, jnp.float32)
    rng = np.random.default_rng(0)

    def dense(n, m):
        kernel = rng.normal(0, np.sqrt(2 / n), (n, m))
        return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.zeros(m, jnp.float32)}

    params = {"dense": dense(64, 32), "out": dense(32, 10)}
    batches = rng.integers(0, len(images), (STEPS, BATCH))
    return Recorded(params, record(params, images, jnp.asarray(digits.target, jnp.int32), batches))


def drawn(seed: int, steps: int = 20) -> Recorded:
    """A few random parameters and gradients, for laws that hold for any."""
    rng = np.random.default_rng(seed)
    params = {"w": jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), "b": jnp.asarray(rng.normal(size=3), jnp.float32)}
    scales = np.exp(rng.normal(0, 3, steps))  # many decades, as in training
    grads = jax.tree.map(
        lambda p: jnp.asarray(
            rng.normal(size=(steps, *p.shape)) * scales.reshape(-1, *(1,) * p.ndim),
            jnp.float32,
        ),
        params,
    )
    return Recorded(params, grads)


def repeated(seed: int, steps: int = 20) -> Recorded:
    """Random parameters, and one random gradient again and again."""
    params, grads = drawn(seed, 1)
    return Recorded(params, jax.tree.map(lambda g: jnp.repeat(g, steps, axis=0), grads))


def scaled(recorded: Recorded, factor: float) -> Recorded:
    """The same parameters, with gradients in other units."""
    return recorded._replace(grads=jax.tree.map(lambda g: g * factor, recorded.grads))
