"""The smallest changes of inputs that deceive a model, within a box around each.

References:
    FGSM: Goodfellow et al., 2014, arXiv:1412.6572, section 4. PGD: Madry et al., 2017, arXiv:1706.06083, equation 2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from optchain.core.leading import along

Losses = Callable[[Any, Any], jax.Array]  # of each example, from inputs and targets


def fgsm(losses: Losses, inputs: jax.Array, targets: Any, size: Any, low: Any, high: Any) -> jax.Array:
    """One step of `size` along the sign of the gradient: `clip(x + size sign(dL/dx), low, high)`.

    Args:
        losses: of each example.
        inputs: f32[examples, ...].
        targets: of each example.
        size: how far an entry may move, in the units of the inputs.
        low: the least value that an entry may be moved to.
        high: the greatest. An entry beyond may stay where it is.
    """
    slopes = jax.grad(lambda x: losses(x, targets).sum())(inputs)
    return jnp.clip(inputs + size * jnp.sign(slopes), jnp.minimum(low, inputs), jnp.maximum(high, inputs))


def pgd(
    losses: Losses,
    inputs: jax.Array,
    targets: Any,
    size: Any,
    low: Any,
    high: Any,
    key: jax.Array,
    steps: int = 20,
    share: float = 0.125,
) -> jax.Array:
    """Many such steps from a random place in the box, each followed by the way back into it; the worst place that was
    met, of each example.

    Args:
        losses: of each example.
        inputs: f32[examples, ...].
        targets: of each example.
        size: half the side of the box, in the units of the inputs.
        low: the least value that an entry may be moved to.
        high: the greatest. An entry beyond may stay where it is.
        key: of the random place.
        steps: how many.
        share: of `size`, the length of a step.
    """

    below = jnp.maximum(inputs - size, jnp.minimum(low, inputs))
    above = jnp.minimum(inputs + size, jnp.maximum(high, inputs))

    def within(x: jax.Array) -> jax.Array:
        return jnp.clip(x, below, above)

    def value(x: jax.Array) -> tuple[jax.Array, jax.Array]:
        each = losses(x, targets)
        return each.sum(), each

    def step(state: Any, _: None) -> tuple[Any, None]:
        x, worst, most = state
        (_, each), slopes = jax.value_and_grad(value, has_aux=True)(x)
        worse = along(each > most, x)
        worst, most = jnp.where(worse, x, worst), jnp.maximum(each, most)
        return (within(x + share * size * jnp.sign(slopes)), worst, most), None

    start = within(inputs + size * jax.random.uniform(key, inputs.shape, inputs.dtype, -1, 1))
    (x, worst, most), _ = jax.lax.scan(step, (start, inputs, losses(inputs, targets)), None, length=steps)
    worse = along(losses(x, targets) > most, x)
    return jnp.where(worse, x, worst)
