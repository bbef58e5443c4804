"""A small problem with a gradient at any parameters, and a run of SAM over it."""

import jax
import jax.numpy as jnp
import numpy as np

import optchain as oc

STEPS = 120


def drawn():
    """Parameters, and one batch of inputs and labels for each step."""
    rng = np.random.default_rng(0)
    params = {"kernel": rng.normal(0, 0.5, (6, 4)), "out": rng.normal(0, 0.5, (4,)), "bias": np.zeros(4)}
    x = rng.normal(size=(STEPS, 16, 6))
    return params, x, np.sin(x.sum(-1))


def loss(params, x, y):
    hidden = jnp.tanh(x @ params["kernel"] + params["bias"][None])
    return jnp.mean((hidden @ params["out"] - y) ** 2)


def gradient(params, x, y):
    """The gradient of `loss` by hand, in float64 NumPy."""
    hidden = np.tanh(x @ params["kernel"] + params["bias"])
    error = 2 * (hidden @ params["out"] - y) / len(y)
    back = np.outer(error, params["out"]) * (1 - hidden**2)
    return {"kernel": x.T @ back, "out": hidden.T @ error, "bias": back.sum(0)}


def trained(tx, dtype=jnp.float32):
    """The parameters and the state after all steps of a compiled loop."""
    params, *batches = jax.tree.map(lambda a: jnp.asarray(a, dtype), drawn())

    def step(carry, batch):
        params, state = carry
        grads = jax.grad(loss)(params, *batch)
        return oc.apply(tx, grads, state, params, grad_fn=lambda p: jax.grad(loss)(p, *batch)), None

    return jax.jit(lambda c, b: jax.lax.scan(step, c, b)[0])((params, tx.init(params)), tuple(batches))


def by_hand(perturbed, rate):
    """SGD on the gradients at perturbed parameters, where `perturbed` is a function of parameters and gradients."""
    return descended(lambda t, params, grad: grad(perturbed(params, grad(params))), rate)


def descended(law, rate):
    """SGD along what `law` makes of the step, the parameters, and the function to their gradients."""
    params, xs, ys = drawn()
    for t, (x, y) in enumerate(zip(xs, ys, strict=True)):
        grads = law(t, params, lambda p, x=x, y=y: gradient(p, x, y))
        params = {name: p - rate * grads[name] for name, p in params.items()}
    return params
