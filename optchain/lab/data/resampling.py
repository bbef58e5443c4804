"""Images moved: each turned, sheared, scaled and shifted in one bilinear resampling."""

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates


def resampled(images: jax.Array, back: jax.Array, shifts: jax.Array) -> jax.Array:
    """Images of which each pixel comes from another place; what comes in from beyond a border repeats the border.

    Args:
        images: [examples, height, width, channels].
        back: [2, 2, examples], the matrices that lead from a pixel, down and right of the middle, to the place that it
            comes from.
        shifts: [examples, 2], pixels down and right by which all is moved before that.
    """
    height, width = images.shape[1:3]
    middle = (height - 1) / 2, (width - 1) / 2

    def one(image: jax.Array, back: jax.Array, shift: jax.Array) -> jax.Array:
        down = (jnp.arange(height) - middle[0] - shift[0])[:, None]
        right = (jnp.arange(width) - middle[1] - shift[1])[None]
        places = [row[0] * down + row[1] * right + start for row, start in zip(back, middle, strict=True)]
        return jax.vmap(lambda channel: map_coordinates(channel, places, order=1, mode="nearest"), -1, -1)(image)

    return jax.vmap(one, (0, 2, 0))(images, back, shifts)
