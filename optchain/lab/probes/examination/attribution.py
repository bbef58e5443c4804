"""What of an input an answer rests on.

References:
    Saliency: Simonyan et al., 2013, arXiv:1312.6034, section 3. Integrated gradients: Sundararajan et al., 2017,
    arXiv:1703.01365, equation 1. Occlusion: Zeiler and Fergus, 2013, arXiv:1311.2901, section 4.2.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Scores = Callable[[Any], jax.Array]  # of the class that is asked about, from inputs, one for each example


def saliency(scores: Scores, inputs: jax.Array) -> jax.Array:
    """The size of each entry's slope: how much a small change of it would change the score."""
    return jnp.abs(jax.grad(lambda x: scores(x).sum())(inputs))


def integrated_gradients(scores: Scores, inputs: jax.Array, base: Any = 0.0, steps: int = 64) -> jax.Array:
    """The way from a base times the mean slope along it. Its entries sum to the score less that of the base.

    The mean is that of the middles of so many parts of the way.

    Args:
        scores: of the class that is asked about.
        inputs: f32[examples, ...].
        base: an input of which nothing is to be said, such as the mean of the training examples.
        steps: parts of the way.
    """
    base = jnp.broadcast_to(jnp.asarray(base), inputs.shape[1:])[None]
    way = inputs - base
    slope = jax.grad(lambda x: scores(x).sum())
    add = lambda i, total: total + slope(base + (i + 0.5) / steps * way)  # noqa: E731
    return way * jax.lax.fori_loop(0, steps, add, jnp.zeros_like(way)) / steps


def occlusion(scores: Scores, images: jax.Array, base: Any = 0.0, side: int = 3) -> jax.Array:
    """f32[examples, height, width]: by how much the score falls where a square around each pixel is covered.

    Args:
        scores: of the class that is asked about.
        images: f32[examples, height, width, channels].
        base: what covers it, of the shape of an image.
        side: of the square, in pixels.
    """
    height, width = images.shape[1:3]
    cover = jnp.broadcast_to(jnp.asarray(base), images.shape[1:])[None]
    rows, columns = jnp.arange(height), jnp.arange(width)
    reach = side // 2

    def covered(place: jax.Array) -> jax.Array:
        near = jnp.abs(rows - place // width)[:, None] <= reach
        there = near & (jnp.abs(columns - place % width)[None] <= reach)
        return scores(jnp.where(there[None, :, :, None], cover, images))

    fallen = scores(images)[None] - jax.lax.map(covered, jnp.arange(height * width))
    return fallen.T.reshape(len(images), height, width)
