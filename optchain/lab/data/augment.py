"""Augmentation: training images moved, turned, scaled, flipped and blurred by noise, each example at random anew."""

from typing import Annotated, Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pydantic
from pydantic import Field, NonNegativeFloat, PositiveInt

from optchain.lab.data.operations import STANDARD, USUAL, WIDE, Operation, Reach, operated
from optchain.lab.data.resampling import resampled
from optchain.lab.data.task import Task
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.own import Own
from optchain.lab.settings.table import Table

CHANGES = ("shift", "rotate", "scale", "flip", "crop", "noise")
LEVELS = 30  # of the strengths that TrivialAugment draws from, besides 0


class Changes(Table):
    """Random changes of the training inputs; each that is left out is not made. All but noise are for images.

    A flipped digit is another digit, or none: `flip` is for images of which the mirror image is one too.
    """

    shift: NonNegativeFloat | None = None  # pixels at most, in each direction
    rotate: NonNegativeFloat | None = None  # degrees at most, either way
    scale: Annotated[float, Field(ge=1)] | None = None  # factor at most, larger or smaller
    flip: Annotated[float, Field(ge=0, le=1)] | None = None  # probability, left to right
    crop: PositiveInt | None = None  # pixels of padding on each side, from which a piece of the old size is cut
    noise: NonNegativeFloat | None = None  # standard deviation, in units of the prepared inputs

    @property
    def of_images(self) -> list[str]:
        """The keys that need images."""
        return [name for name in CHANGES if name != "noise" and getattr(self, name) is not None]


class Augment(Changes):
    """Random changes, each image by all of them."""

    use: Literal["changes"] = "changes"


class Policy(Changes):
    """Operations that are drawn for each image, of all with the same chance, before the other changes are made."""

    range: Annotated[list[float], Field(min_length=2, max_length=2)]  # black and white, as the task has its images
    operations: Annotated[list[Operation], Field(min_length=1)] = USUAL

    @pydantic.model_validator(mode="after")
    def _black_is_below_white(self) -> "Policy":
        if not self.range[0] < self.range[1]:
            raise ValueError(f"range = {self.range}; expected black, and then white above it")
        return self

    @property
    def of_images(self) -> list[str]:
        return ["use", *super().of_images]

    @property
    def reach(self) -> Reach:
        """What an operation of strength 1 does."""
        return STANDARD

    @property
    def times(self) -> int:
        """How many operations each image has, one after the other."""
        return 1

    def strengths(self, key: jax.Array, images: int) -> jax.Array:
        """Of one operation for each image, from 0 to 1."""
        raise NotImplementedError


class RandAugment(Policy):
    """`count` operations for each image, all of the same strength.

    Differs from the paper: brightness, contrast, color and sharpness grow or fall with the magnitude, as likely the one
    as the other, where the paper's fall up to half of it and grow beyond; `equalize` is not among the operations, and
    see `operations.operated`.

    References:
        Cubuk et al., 2019, arXiv:1909.13719: N is `count`, M is `magnitude`.
    """

    use: Literal["rand_augment"]
    count: PositiveInt = 2
    magnitude: Annotated[float, Field(ge=0, le=10)] = 9.0  # 10 for rotations of 30 degrees, shears of 0.3, ...

    @property
    def times(self) -> int:
        return self.count

    def strengths(self, key: jax.Array, images: int) -> jax.Array:
        return jnp.full(images, self.magnitude / 10)


class TrivialAugment(Policy):
    """One operation for each image, of a strength that is drawn from 31 equally far from one another.

    Differs from the paper: `equalize` is not among the operations, and see `operations.operated`.

    References:
        Müller and Hutter, 2021, arXiv:2103.10158: TA (Wide), or TA (RA) with `wide = false`.
    """

    use: Literal["trivial_augment"]
    wide: bool = True  # rotations of up to 135 degrees, shears of 0.99, ...; else those of RandAugment

    @property
    def reach(self) -> Reach:
        return WIDE if self.wide else STANDARD

    def strengths(self, key: jax.Array, images: int) -> jax.Array:
        return jax.random.randint(key, (images,), 0, LEVELS + 1) / LEVELS


KINDS: dict[str, type[Table]] = {"changes": Augment, "rand_augment": RandAugment, "trivial_augment": TrivialAugment}
AnyAugment = Annotated[Any, Kinds("augment", KINDS, Table, 2, (), "changes")]
Ends = tuple[np.ndarray, np.ndarray]


def ends_of(table: Any, task: Task) -> Ends | None:
    """Black and white images as a task prepares them, which the operations of a policy need."""
    if not isinstance(table, Policy):
        return None
    black, white = task.prepare(np.stack([np.full(task.shape or (), end, np.float32) for end in table.range]))
    return np.asarray(black), np.asarray(white)


def augment(table: Changes | Own, key: jax.Array, inputs: jax.Array, ends: Ends | None = None) -> jax.Array:
    """A batch, f32[examples, ...], with every change that the table names; a pure function of the key.

    Each kind of change draws from a key of its own, so that one more does not change the others. What comes in from
    beyond an image's border repeats the border.

    Args:
        table: which changes; its numbers may be traced. Or a function of the user's, of the key and the inputs.
        key: a random key, another one for each step.
        inputs: the inputs of a network; images as [examples, height, width, channels].
        ends: see `ends_of`.
    """
    if isinstance(table, Own):
        return table.build(key, inputs)
    if isinstance(table, Policy) and ends is not None:
        inputs = _drawn(table, jax.random.fold_in(key, len(CHANGES)), inputs, ends)
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


def _drawn(table: Policy, key: jax.Array, images: jax.Array, ends: Ends) -> jax.Array:
    """Each image after the operations that are drawn for it."""
    black, white = (jnp.asarray(end)[None] for end in ends)
    shown, count = jnp.clip((images - black) / (white - black), 0, 1), len(images)
    for step in jax.random.split(key, table.times):
        choice, way, much = jax.random.split(step, 3)
        chosen = jax.random.randint(choice, (count,), 0, len(table.operations))
        sign = jnp.where(jax.random.bernoulli(way, shape=(count,)), 1.0, -1.0)
        shown = operated(shown, table.operations, chosen, table.strengths(much, count), sign, table.reach)
    return (black + (white - black) * shown).astype(images.dtype)


def _moved(table: Changes, keys: dict[str, jax.Array], images: jax.Array) -> jax.Array:
    """Each image turned and scaled about its middle and shifted, in one bilinear resampling."""

    def draws(name: str, reach: Any, *shape: int) -> jax.Array:
        return reach * jax.random.uniform(keys[name], (len(images), *shape), minval=-1, maxval=1)

    count = len(images)
    shifts = jnp.zeros((count, 2)) if table.shift is None else draws("shift", table.shift, 2)
    angles = jnp.zeros(count) if table.rotate is None else draws("rotate", jnp.deg2rad(table.rotate))
    factors = jnp.ones(count) if table.scale is None else jnp.exp(draws("scale", jnp.log(table.scale)))
    sine, cosine = jnp.sin(angles) / factors, jnp.cos(angles) / factors
    return resampled(images, jnp.array([[cosine, -sine], [sine, cosine]]), shifts)


def _cropped(pixels: int, key: jax.Array, images: jax.Array) -> jax.Array:
    """Each image padded by so many pixels on each side, and as large a piece of that as it was."""
    padded = jnp.pad(images, ((0, 0), (pixels, pixels), (pixels, pixels), (0, 0)), mode="edge")
    corners = jax.random.randint(key, (len(images), 2), 0, 2 * pixels + 1)
    return jax.vmap(lambda image, corner: jax.lax.dynamic_slice(image, (corner[0], corner[1], 0), images.shape[1:]))(
        padded, corners
    )
