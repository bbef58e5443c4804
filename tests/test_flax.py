"""A chain in Flax: linen's TrainState and nnx.Optimizer, extra arguments included."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
from flax import linen as nn
from flax import nnx
from flax.training.train_state import TrainState

import optchain as oc

X = jax.random.normal(jax.random.key(0), (32, 4))
Y = X @ jnp.array([[1.0], [-2.0], [0.5], [3.0]])


def recipe():
    return oc.chain(
        clip=oc.clip_by_global_norm(1.0),
        adam=oc.scale_by_adam(),
        decay=oc.add_decayed_weights(1e-3, mask="*kernel"),
        belief=optax.scale_by_belief(),
        lr=oc.scale_by_learning_rate(0.05),
    )


def linen():
    model = nn.Dense(1)
    params = model.init(jax.random.key(1), X)["params"]
    return model, params, lambda params: jnp.mean((model.apply({"params": params}, X) - Y) ** 2)


def test_linen_train_state():
    model, params, loss = linen()
    state = TrainState.create(apply_fn=model.apply, params=params, tx=recipe())
    state = state.replace(step=jnp.zeros((), jnp.int32))  # linen begins with a Python number, which is another trace

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(state):
        return state.apply_gradients(grads=jax.grad(loss)(state.params))

    start = loss(state.params)
    for _ in range(50):
        state = step(state)
    assert loss(state.params) < 0.5 * start
    assert oc.metrics(state.opt_state)["step"] == state.step == 50


def test_the_short_step_with_extra_arguments_equals_train_state():
    model, params, loss = linen()
    tx = recipe()
    state = TrainState.create(apply_fn=model.apply, params=params, tx=tx)

    @jax.jit
    @chex.assert_max_traces(n=1)
    def step(params, opt_state, lr):
        grads = jax.grad(loss)(params)
        return oc.apply(tx, grads, opt_state, params, hyper={"lr.learning_rate": lr})

    opt_state = tx.init(params)
    for _ in range(5):
        state = state.apply_gradients(grads=jax.grad(loss)(state.params))
        params, opt_state = step(params, opt_state, 0.05)
    chex.assert_trees_all_close(params, state.params, rtol=1e-5)
    _, opt_state = step(params, opt_state, 0.01)
    assert oc.metrics(opt_state)["lr.learning_rate"] == np.float32(0.01)


def test_nnx_optimizer_forwards_extra_arguments():
    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, recipe(), wrt=nnx.Param)

    def loss(model):
        return jnp.mean((model(X) - Y) ** 2)

    @nnx.jit
    def step(model, optimizer, lr):
        value, grads = nnx.value_and_grad(loss)(model)
        optimizer.update(model, grads, hyper={"lr.learning_rate": lr})
        return value

    start = step(model, optimizer, 0.05)
    for _ in range(50):
        end = step(model, optimizer, 0.05)
    assert end < 0.5 * start
    step(model, optimizer, 0.01)
    found = oc.metrics(optimizer.opt_state)
    assert np.asarray(found["lr.learning_rate"]) == np.float32(0.01) and int(found["step"]) == 52


def test_linen_and_nnx_make_the_same_steps():
    _, params, loss = linen()
    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    model.kernel[...] = params["kernel"]
    tx = recipe()
    optimizer, state = nnx.Optimizer(model, tx, wrt=nnx.Param), tx.init(params)
    for _ in range(5):
        optimizer.update(model, nnx.grad(lambda model: jnp.mean((model(X) - Y) ** 2))(model))
        params, state = oc.apply(tx, jax.grad(loss)(params), state, params)
    chex.assert_trees_all_close({"kernel": model.kernel[...], "bias": model.bias[...]}, params, rtol=1e-5, atol=1e-6)


def test_orbax_round_trip(tmp_path):
    _, params, loss = linen()
    tx = recipe()
    _, state = oc.apply(tx, jax.grad(loss)(params), tx.init(params), params)
    saved = oc.without_metrics(state)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", saved)
        checkpointer.wait_until_finished()
        template = jax.tree.map(ocp.utils.to_shape_dtype_struct, oc.without_metrics(tx.init(params)))
        restored = checkpointer.restore(tmp_path / "state", template)
    chex.assert_trees_all_equal(restored, saved)
    again = oc.with_metrics(restored, tx.init(params))
    chex.assert_trees_all_equal(tx.update(params, again, params), tx.update(params, state, params))
