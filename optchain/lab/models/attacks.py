"""The smallest changes of inputs that deceive a model, within a box around each.

References:
    FGSM: Goodfellow et al., 2014, arXiv:1412.6572, section 4. PGD: Madry et al., 2017, arXiv:1706.06083, equation 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import along

Losses = Callable[[Any], jax.Array]  # of each example, from inputs


def fgsm(losses: Losses, inputs: jax.Array, eps: Any, low: Any, high: Any) -> jax.Array:
    """One step of `eps` along the sign of the gradient: `clip(x + eps sign(dL/dx), low, high)`.

    Args:
        losses: of each example.
        inputs: f32[examples, ...].
        eps: how far an entry may move, in the units of the inputs.
        low: the least value that an entry may be moved to.
        high: the greatest. An entry beyond may stay where it is.
    """
    slopes = jax.grad(lambda x: losses(x).sum())(inputs)
    below, above = _box(inputs, eps, low, high)
    return jnp.clip(inputs + _like(eps, inputs) * jnp.sign(slopes), below, above)


def pgd(
    losses: Losses,
    inputs: jax.Array,
    eps: Any,
    low: Any,
    high: Any,
    key: jax.Array,
    steps: int = 20,
    step_size: Any = 0.125,
    random_start: bool = True,
    restarts: int = 1,
) -> jax.Array:
    """Many such steps from a random place in the box, each followed by the way back into it; the worst place that was
    met, of each example. The inputs themselves are one of these places.

    Args:
        losses: of each example.
        inputs: f32[examples, ...].
        eps: half the side of the box, in the units of the inputs.
        low: the least value that an entry may be moved to.
        high: the greatest. An entry beyond may stay where it is.
        key: of the random places.
        steps: how many.
        step_size: of `eps`, the length of a step.
        random_start: whether it begins at a random place; else at the inputs.
        restarts: how often it begins again.
    """
    eps, step_size = _like(eps, inputs), _like(step_size, inputs)
    below, above = _box(inputs, eps, low, high)

    def value(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        each = losses(x)
        return each.sum(), each

    def worst_of(worst: jax.Array, most: jax.Array, x: jax.Array, each: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.where(along(each > most, x), x, worst), jnp.maximum(each, most)

    def step(state: Any, _: None) -> tuple[Any, None]:
        x, worst, most = state
        (_, each), slopes = jax.value_and_grad(value, has_aux=True)(x)
        worst, most = worst_of(worst, most, x, each)
        return (jnp.clip(x + step_size * eps * jnp.sign(slopes), below, above), worst, most), None

    def attempt(state: Any, key: jax.Array) -> tuple[Any, None]:
        x = inputs
        if random_start:
            x = jnp.clip(x + eps * jax.random.uniform(key, x.shape, x.dtype, -1, 1), below, above)
        (x, worst, most), _ = jax.lax.scan(step, (x, *state), None, length=steps)
        return worst_of(worst, most, x, losses(x)), None

    (worst, _), _ = jax.lax.scan(attempt, (inputs, losses(inputs)), jax.random.split(key, restarts))
    return worst


def _box(inputs: jax.Array, eps: Any, low: Any, high: Any) -> tuple[jax.Array, jax.Array]:
    """The least and the greatest value that each entry may have."""
    low, high, eps = (_like(x, inputs) for x in (low, high, eps))
    return jnp.maximum(inputs - eps, jnp.minimum(low, inputs)), jnp.minimum(inputs + eps, jnp.maximum(high, inputs))


def _like(number: Any, inputs: jax.Array) -> jax.Array:
    """A number in the dtype of the inputs, which it must not change."""
    return jnp.asarray(number, inputs.dtype)
