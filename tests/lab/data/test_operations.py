"""Operations on images beside Pillow and SciPy, and the policies that draw them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps
from scipy import ndimage

from optchain.lab.data import augment as augmenting
from optchain.lab.data.augment import RandAugment, TrivialAugment
from optchain.lab.data.operations import STANDARD, USUAL, WIDE, operated

DRAW = np.random.default_rng(0)
BYTES = ndimage.gaussian_filter(DRAW.uniform(-400, 650, (6, 11, 13, 3)), (0, 1, 1, 0)).clip(20, 240).astype(np.uint8)
IMAGES = jnp.asarray(BYTES / 255, jnp.float32)
STRENGTHS = np.array([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
SIGNS = np.array([1, -1, 1, -1, 1, -1])
KEY = jax.random.key(4)


def after(name, reach=STANDARD):
    """The six images after one operation of six strengths."""
    names = ["identity", name]
    chosen = jnp.ones(6, int)
    changed = jax.jit(lambda *numbers: operated(IMAGES, names, *numbers, reach))
    return changed(chosen, jnp.asarray(STRENGTHS, jnp.float32), jnp.asarray(SIGNS, jnp.float32))


def pillow(name, image, strength, sign, reach):
    """The same by Pillow, as the code of the papers calls it."""
    image, factor = Image.fromarray(image), 1 + sign * strength * reach.blend
    match name:
        case "auto_contrast":
            return ImageOps.autocontrast(image)
        case "invert":
            return ImageOps.invert(image)
        case "flip":
            return ImageOps.mirror(image)
        case "solarize":
            return ImageOps.solarize(image, 256 * (1 - strength))
        case "posterize":
            return ImageOps.posterize(image, 8 - round(strength * reach.bits))
    return getattr(ImageEnhance, name.capitalize())(image).enhance(factor)


@pytest.mark.parametrize("reach", [STANDARD, WIDE], ids=["standard", "wide"])
@pytest.mark.parametrize(
    "name",
    ["auto_contrast", "invert", "flip", "solarize", "posterize", "brightness", "contrast", "color", "sharpness"],
)
def test_colours_are_those_of_pillow(name, reach):
    found = 255 * np.asarray(after(name, reach))
    changed = 0
    for i in range(6):
        expected = np.asarray(pillow(name, BYTES[i], STRENGTHS[i], SIGNS[i], reach), np.float64)
        np.testing.assert_allclose(found[i], expected, atol=2.0)  # Pillow rounds to bytes, and what it blends with too
        changed += np.abs(expected - BYTES[i]).max() > 3
    assert changed >= 2


@pytest.mark.parametrize("reach", [STANDARD, WIDE], ids=["standard", "wide"])
@pytest.mark.parametrize("name", ["rotate", "shear_x", "shear_y", "translate_x", "translate_y"])
def test_movements_are_those_of_scipy(name, reach):
    found, middle = np.asarray(after(name, reach)), np.array([5.0, 6.0])
    for i in range(6):
        much = SIGNS[i] * STRENGTHS[i]
        angle, back, shift = np.deg2rad(much * reach.degrees), np.eye(2), np.zeros(2)
        if name == "rotate":
            back = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        elif name.startswith("shear"):
            back[(1, 0) if name == "shear_x" else (0, 1)] = much * reach.shear
        else:
            axis = 1 if name == "translate_x" else 0
            shift[axis] = much * min(reach.side * (11, 13)[axis], reach.pixels)
        for c in range(3):
            image = np.asarray(BYTES[i, :, :, c], np.float64) / 255
            moved = ndimage.affine_transform(image, back, middle - back @ (middle + shift), order=1, mode="nearest")
            np.testing.assert_allclose(found[i, :, :, c], moved, atol=2e-4)
    assert np.abs(found[-1] - np.asarray(IMAGES[-1])).max() > 0.1


def test_each_image_has_its_own_operation_and_grey_ones_one_brightness():
    names, chosen = ["identity", "invert", "flip"], jnp.array([0, 1, 2, 0, 1, 2])
    found = operated(IMAGES, names, chosen, jnp.ones(6), jnp.ones(6), STANDARD)
    expected = [BYTES[0], 255 - BYTES[1], BYTES[2, :, ::-1], BYTES[3], 255 - BYTES[4], BYTES[5, :, ::-1]]
    np.testing.assert_allclose(255 * np.asarray(found), expected, atol=1e-3)
    grey = IMAGES[..., :1]
    pale = operated(grey, ["color"], jnp.zeros(6, int), jnp.ones(6), -jnp.ones(6), STANDARD)
    np.testing.assert_allclose(pale, grey, atol=1e-6)


ENDS = np.full((11, 13, 3), -2.0, np.float32), np.full((11, 13, 3), 3.0, np.float32)
PREPARED = 5 * IMAGES - 2  # as a step of preparation might have them


def augment(table, key, images, ends):
    return jax.jit(lambda images: augmenting.augment(table, key, images, ends))(images)


def rand(**keys):
    return RandAugment(use="rand_augment", range=[0.0, 255.0], **keys)


def trivial(**keys):
    return TrivialAugment(use="trivial_augment", range=[0.0, 255.0], **keys)


def test_prepared_images_are_changed_in_their_own_range():
    found = augment(rand(operations=["invert"], count=1), KEY, PREPARED, ENDS)
    np.testing.assert_allclose(found, 5 * (1 - IMAGES) - 2, atol=1e-5)
    np.testing.assert_allclose(augment(rand(operations=["invert"], count=2), KEY, PREPARED, ENDS), PREPARED, atol=1e-5)


def test_rand_augment_draws_operations_of_one_strength():
    """N operations for each image, M tenths of the reach: those that the key says, one after the other."""
    many, ends = jnp.tile(PREPARED[:1], (200, 1, 1, 1)), ENDS
    found, shown = augment(rand(count=2, magnitude=6.0), KEY, many, ends), jnp.tile(IMAGES[:1], (200, 1, 1, 1))
    used = []
    change = jax.jit(lambda images, chosen, sign: operated(images, USUAL, chosen, jnp.full(200, 0.6), sign, STANDARD))
    for step in jax.random.split(jax.random.fold_in(KEY, 6), 2):
        choice, way, _ = jax.random.split(step, 3)
        used.append(jax.random.randint(choice, (200,), 0, 13))
        sign = jnp.where(jax.random.bernoulli(way, shape=(200,)), 1.0, -1.0)
        shown = change(shown, used[-1], sign)
    np.testing.assert_allclose(found, 5 * shown - 2, atol=1e-4)
    assert set(np.concatenate(used)) == set(range(13)) and not np.array_equal(*used)
    assert np.bincount(np.concatenate(used)).max() < 2.2 * 400 / 13


def test_trivial_augment_draws_31_strengths():
    strengths = np.asarray(trivial().strengths(KEY, 5000))
    np.testing.assert_allclose(np.unique(strengths), np.arange(31) / 30, atol=1e-6)
    assert np.bincount(np.rint(30 * strengths).astype(int)).min() > 100
    wide, narrow = (augment(trivial(wide=x), KEY, PREPARED, ENDS) for x in (True, False))
    assert not np.allclose(wide, narrow) and trivial().reach is WIDE and trivial(wide=False).reach is STANDARD


def test_the_changes_come_after_the_policy_with_draws_of_their_own():
    both = augment(rand(flip=1.0, magnitude=4.0), KEY, PREPARED, ENDS)
    np.testing.assert_allclose(both, augment(rand(magnitude=4.0), KEY, PREPARED, ENDS)[:, :, ::-1], atol=1e-6)


def test_the_magnitude_may_be_swept_under_vmap_and_0_of_it_moves_nothing():
    def changed(magnitude):
        table = rand(operations=["rotate", "shear_x", "brightness", "solarize"])
        return augmenting.augment(table.model_copy(update={"magnitude": magnitude}), KEY, PREPARED, ENDS)

    many = jax.jit(jax.vmap(changed))(jnp.array([0.0, 7.0]))
    np.testing.assert_allclose(many[0], PREPARED, atol=1e-5)
    np.testing.assert_allclose(many[1], changed(7.0), atol=1e-5)
    assert not np.allclose(many[1], PREPARED)
