"""A training run with faults in one step of twenty reaches what the clean run reaches."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn
from sklearn.datasets import load_digits

import optchain as oc

STEPS, FAULTY = 1000, 0.05


class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(10)(nn.relu(nn.Dense(64)(x)))


def accuracy(tx, faults: bool) -> tuple[float, dict]:
    """The accuracy on 360 held-out scans after 1,000 steps, and the metrics at the end."""
    x, y = load_digits(return_X_y=True)
    x, y = jnp.asarray(x / 16, jnp.float32), jnp.asarray(y)
    order = np.random.RandomState(0).permutation(len(x))
    train, test = order[360:], order[:360]
    model = Network()
    params = model.init(jax.random.key(0), x[:1])

    def step(carry, i):
        params, state = carry
        key = jax.random.fold_in(jax.random.key(1), i)
        rows = jax.random.choice(key, jnp.asarray(train), (64,))

        def loss(params):
            logits = model.apply(params, x[rows])
            return optax.losses.softmax_cross_entropy_with_integer_labels(logits, y[rows]).mean()

        value, grads = jax.value_and_grad(loss)(params)
        # After the warm-up of the statistics: a NaN, an infinity, or gradients a thousand times too large.
        kind = jax.random.randint(jax.random.fold_in(key, 1), (), 0, 3)
        faulty = (jax.random.uniform(jax.random.fold_in(key, 2)) < FAULTY) & (i >= 50) & faults
        factor = jnp.where(faulty, jnp.array([jnp.nan, jnp.inf, 1e3])[kind], 1.0)
        grads = jax.tree.map(lambda g: g * factor, grads)
        return oc.apply(tx, grads, state, params, value=value), faulty

    (params, state), faulty = jax.jit(lambda c: jax.lax.scan(step, c, jnp.arange(STEPS)))((params, tx.init(params)))
    right = jnp.mean(model.apply(params, x[test]).argmax(-1) == y[test])
    return float(right), oc.metrics(state) | {"faults": int(faulty.sum())}


@pytest.mark.full
def test_the_guard_reaches_the_clean_accuracy():
    # Momentum, because a step that is a thousand times too large carries on in it; Adam would divide it away.
    recipe = oc.momentum(0.1)
    clean, _ = accuracy(recipe, faults=False)
    unguarded, _ = accuracy(recipe, faults=True)
    guarded, found = accuracy(oc.guard(recipe, spike=6.0, warmup=40), faults=True)
    assert clean > 0.95 and unguarded < 0.5
    assert 35 <= found["faults"] <= 65 and found["faults"] <= found["guard.rejected"] <= found["faults"] + 10
    assert abs(guarded - clean) <= 0.01
    print(f"clean {clean:.4f}, unguarded {unguarded:.4f}, guarded {guarded:.4f}, faults {found['faults']}")
