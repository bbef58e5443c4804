"""The noise scale of the gradient: the batch at which its noise is as large as what it says."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


class Moments(NamedTuple):
    """Running means of unbiased estimates; both begin at 0 and decay alike, so that their quotient has no bias."""

    signal: jax.Array  # the squared norm of the gradient of all examples
    noise: jax.Array  # the sum of the variances of the gradient of one example, over all of its entries


def start() -> Moments:
    """The means before the first estimate."""
    return Moments(jnp.zeros(()), jnp.zeros(()))


def estimate(small: jax.Array, large: jax.Array, fewer: jax.Array | int, more: jax.Array | int) -> Moments:
    """Unbiased estimates from the squared norms of two gradients.

    A gradient of B examples has the expected squared norm |G|^2 + tr(S) / B: two sizes determine both.

    Args:
        small: squared norm of the mean gradient of fewer examples, or the mean of several such.
        large: squared norm of the mean gradient of more examples.
        fewer: how many.
        more: how many.

    References:
        McCandlish et al., 2018, appendix A.1, arXiv:1812.06162.
    """
    signal = (more * large - fewer * small) / (more - fewer)
    noise = (small - large) / (1 / fewer - 1 / more)
    return Moments(signal, noise)


def follow(before: Moments, sample: Moments, decay: jax.Array | float) -> Moments:
    """The running means after one more estimate."""
    return jax.tree.map(lambda mean, x: decay * mean + (1 - decay) * x, before, sample)


def noise_scale(means: Moments) -> jax.Array:
    """tr(S) / |G|^2 in examples: 0 before the first estimate, infinite where nothing but noise is seen."""
    signal, noise = means
    known = jnp.where(signal > 0, noise / jnp.where(signal > 0, signal, 1), jnp.inf)
    return jnp.where(noise > 0, known, 0.0)
