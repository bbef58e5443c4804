"""Operations on images of a known range, each image by one of them: those of AutoAugment, RandAugment, TrivialAugment.

Of the fourteen operations of RandAugment (arXiv:1909.13719) and TrivialAugment (arXiv:2103.10158) thirteen are here,
all but `equalize`; `invert`, which AutoAugment has, and `flip` besides.
"""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp

from optchain.lab.data.resampling import resampled

Operation = Literal[
    "identity",
    "auto_contrast",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
    "invert",
    "flip",
]
USUAL: list[Operation] = [
    "identity",
    "auto_contrast",
    "rotate",
    "solarize",
    "color",
    "posterize",
    "contrast",
    "brightness",
    "sharpness",
    "shear_x",
    "shear_y",
    "translate_x",
    "translate_y",
]


@dataclasses.dataclass(frozen=True)
class Reach:
    """What an operation of strength 1 does."""

    degrees: float  # of a rotation
    shear: float  # pixels to the side for each pixel away from the middle
    side: float  # of a translation, a part of the height or the width,
    pixels: float  # but not more than these
    blend: float  # how much of the contrast, the brightness, ... is added or taken away
    bits: int  # of eight that posterize takes away


STANDARD = Reach(degrees=30, shear=0.3, side=150 / 331, pixels=float("inf"), blend=0.9, bits=4)
WIDE = Reach(degrees=135, shear=0.99, side=1.0, pixels=32, blend=0.99, bits=6)


def operated(
    images: jax.Array, names: list[Operation], chosen: jax.Array, strength: jax.Array, sign: jax.Array, reach: Reach
) -> jax.Array:
    """Each image after one operation.

    The formulas are those of Pillow, on which the papers' code rests, without rounding to whole numbers but for
    `posterize`. Movements are about the middle, and repeat the border, where the papers' shears begin at the corner and
    fill with grey or black.

    Args:
        images: f32[examples, height, width, channels], from 0, black, to 1, white.
        names: of the operations.
        chosen: i32[examples], for each image which of the names.
        strength: f32[examples], from 0 to 1, how much of the reach.
        sign: f32[examples], 1 or -1: which way, of operations that have two.
        reach: of the operations.
    """

    def those(name: Operation) -> jax.Array:
        """Which of the images have an operation."""
        return chosen == names.index(name)

    def amount(name: Operation, most: float) -> jax.Array:
        """How much of a movement each image has."""
        return jnp.where(those(name), sign * strength * most, 0) if name in names else jnp.zeros(len(images))

    height, width = images.shape[1:3]
    angle = amount("rotate", jnp.pi / 180 * reach.degrees)
    sine, cosine = jnp.sin(angle), jnp.cos(angle)
    back = jnp.array([[cosine, amount("shear_y", reach.shear) - sine], [amount("shear_x", reach.shear) + sine, cosine]])
    down = amount("translate_y", min(reach.side * height, reach.pixels))
    right = amount("translate_x", min(reach.side * width, reach.pixels))
    found = resampled(images, back, jnp.stack([down, right], -1))
    each = strength[:, None, None, None]
    factor = 1 + sign[:, None, None, None] * each * reach.blend
    grey = _grey(images)
    pale: dict[Operation, jax.Array | float] = {
        "brightness": 0.0,
        "contrast": grey.mean((1, 2), keepdims=True),
        "color": grey,
        "sharpness": _smooth(images),
    }
    results: dict[Operation, jax.Array] = {name: x + factor * (images - x) for name, x in pale.items()}
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    lost = 2 ** jnp.round(reach.bits * each)
    results |= {
        "auto_contrast": jnp.where(high > low, (images - low) / jnp.where(high > low, high - low, 1), images),
        "solarize": jnp.where(255 * images < 256 * (1 - each), images, 1 - images),
        "posterize": jnp.floor(jnp.round(255 * images) / lost) * lost / 255,
        "invert": 1 - images,
        "flip": images[:, :, ::-1],
    }
    for name, result in results.items():
        if name in names:
            found = jnp.where(those(name)[:, None, None, None], result, found)
    return jnp.clip(found, 0, 1)


def _grey(images: jax.Array) -> jax.Array:
    """The brightness of each pixel: of red, green and blue as they are seen (ITU-R 601), else the mean of channels."""
    weights = jnp.array([0.299, 0.587, 0.114]) if images.shape[-1] == 3 else jnp.ones(images.shape[-1])
    return (images @ weights / weights.sum())[..., None]


def _smooth(images: jax.Array) -> jax.Array:
    """Each pixel within the border as a mean with its eight neighbours, in which it counts five times."""
    height, width = images.shape[1:3]
    if min(height, width) < 3:
        return images
    neighbours = sum(
        (images[:, i : height - 2 + i, j : width - 2 + j] for i in range(3) for j in range(3)), jnp.zeros(())
    )
    inner = (neighbours + 4 * images[:, 1:-1, 1:-1]) / 13
    return images.at[:, 1:-1, 1:-1].set(inner)
