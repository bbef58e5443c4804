"""Augmentation: training images moved, turned, scaled, flipped and blurred by noise, each example at random anew."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
from jax.scipy.ndimage import map_coordinates
from pydantic import Field, NonNegativeFloat, PositiveInt

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Table

CHANGES = ("shift", "rotate", "scale", "flip", "crop", "noise")


class Augment(Table):
    """Random changes of the training inputs; each that is left out is not made. All but noise are for images.

    A flipped digit is another digit, or none: `flip` is for images of which the mirror image is one too.
    """

    use: Literal["changes"] = "changes"
    shift: NonNegativeFloat | None = None  # pixels at most, in each direction
    rotate: NonNegativeFloat | None = None  # degrees at most, either way
    scale: Annotated[float, Field(ge=1)] | None = None  # factor at most, larger or smaller
    flip: Annotated[float, Field(ge=0, le=1)] | None = None  # probability, left to right
    crop: PositiveInt | None = None  # pixels of padding on each side, from which a piece of the old size is cut
    noise: NonNegativeFloat | None = None  # standard deviation, in units of the prepared inputs

    @property
    def of_images(self) -> list[str]:
        """The changes that are asked for and need images."""
        return [
            name for name in type(self).model_fields if name not in ("use", "noise") and getattr(self, name) is not None
        ]


AnyAugment = Annotated[Any, Kinds("augment", {"changes": Augment}, Table, 2, (), "changes")]


def augment(table: Augment | Own, key: jax.Array, inputs: jax.Array) -> jax.Array:
    """A batch, f32[examples, ...], with every change that the table names; a pure function of the key.

    Each kind of change draws from a key of its own, so that one more does not change the others. What comes in from
    beyond an image's border repeats the border.

    Args:
        table: which changes; its numbers may be traced. Or a function of the user's, of the key and the inputs.
        key: a random key, another one for each step.
        inputs: the inputs of a network; images as [examples, height, width, channels].
    """
    if isinstance(table, Own):
        return table.build(key, inputs)
    keys: dict[str, jax.Array] = dict(zip(CHANGES, jax.random.split(key, 6), strict=True))
    if any(x is not None for x in (table.shift, table.rotate, table.scale)):
        inputs = _moved(table, keys, inputs)
    if table.crop is not None:
        inputs = _cropped(table.crop, keys["crop"], inputs)
    if table.flip is not None:
        flipped = jax.random.bernoulli(keys["flip"], table.flip, (len(inputs), 1, 1, 1))
        inputs = jnp.where(flipped, inputs[:, :, ::-1], inputs)
    if table.noise is not None:
        inputs = inputs + table.noise * jax.random.normal(keys["noise"], inputs.shape, inputs.dtype)
    return inputs


def _moved(table: Augment, keys: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """Each image turned and scaled about its middle and shifted, in one bilinear resampling."""

    def draws(name: str, reach: Any, *shape: int) -> jax.Array:
        return reach * jax.random.uniform(keys[name], (len(images), *shape), minval=-1, maxval=1)

    count, height, width = images.shape[:3]
    shifts = jnp.zeros((count, 2)) if table.shift is None else draws("shift", table.shift, 2)
    angles = jnp.zeros(count) if table.rotate is None else draws("rotate", jnp.deg2rad(table.rotate))
    factors = jnp.ones(count) if table.scale is None else jnp.exp(draws("scale", jnp.log(table.scale)))
    middle = (height - 1) / 2, (width - 1) / 2

    def resampled(image: jax.Array, shift: jax.Array, angle: jax.Array, factor: jax.Array) -> jax.Array:
        # Of each pixel, the place in the image that it comes from: the inverse of the movement.
        down = (jnp.arange(height) - middle[0] - shift[0])[:, None]
        right = (jnp.arange(width) - middle[1] - shift[1])[None]
        sine, cosine = jnp.sin(angle) / factor, jnp.cos(angle) / factor
        places = [cosine * down - sine * right + middle[0], sine * down + cosine * right + middle[1]]
        return jax.vmap(lambda channel: map_coordinates(channel, places, order=1, mode="nearest"), -1, -1)(image)

    return jax.vmap(resampled)(images, shifts, angles, factors)


def _cropped(pixels: int, key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image padded by so many pixels on each side, and as large a piece of that as it was."""
    padded = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)
    return jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:]))(
        padded, corners
    )
