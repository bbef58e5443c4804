"""Augmentation: what each change does to an image, and that it is a pure function of the key."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs
from scipy import ndimage

from optchain.lab.data.augment import Augment, augment
from optchain.lab.runs import config, run
from optchain.lab.runs.logs import read
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.train import Trainer

KEY = jax.random.key(5)
IMAGES = jnp.asarray(ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 12, 10, 2)), (0, 1.5, 1.5, 0)))
IMAGES = (IMAGES / IMAGES.std()).astype(jnp.float32)
ALL = Augment(shift=1.5, rotate=20, scale=1.3, flip=0.5, crop=2, noise=0.1)


def draws(name, *shape):
    """What is drawn for a change, from -1 to 1."""
    key = jax.random.split(KEY, 6)[["shift", "rotate", "scale", "flip", "crop", "noise"].index(name)]
    return np.asarray(jax.random.uniform(key, (40, *shape), minval=-1, maxval=1), np.float64)


def test_a_table_without_changes_changes_nothing():
    assert augment(Augment(), KEY, IMAGES) is IMAGES


@pytest.mark.parametrize("keys", [{"shift": 0.0}, {"rotate": 0.0}, {"scale": 1.0}, {"flip": 0.0}, {"noise": 0.0}])
def test_numbers_that_do_nothing_change_nothing_even_traced(keys):
    (name,) = keys
    changed = jax.jit(lambda x: augment(Augment().model_copy(update={name: x}), KEY, IMAGES))(keys[name])
    chex.assert_trees_all_close(changed, IMAGES, atol=1e-5)


@pytest.mark.full
def test_movements_are_those_of_scipy():
    """Turned and scaled about the middle and then shifted, by what was drawn, resampled by SciPy in float64."""
    moved = augment(Augment(shift=2.5, rotate=30.0, scale=1.4), KEY, IMAGES)
    shifts, angles, factors = 2.5 * draws("shift", 2), np.deg2rad(30) * draws("rotate"), 1.4 ** draws("scale")
    middle = np.array([5.5, 4.5])
    for i in range(40):
        forth = factors[i] * np.array([[np.cos(angles[i]), np.sin(angles[i])], [-np.sin(angles[i]), np.cos(angles[i])]])
        back = np.linalg.inv(forth)
        offset = middle - back @ (middle + shifts[i])
        for c in range(2):
            expected = ndimage.affine_transform(
                np.asarray(IMAGES[i, :, :, c], np.float64), back, offset, order=1, mode="nearest"
            )
            np.testing.assert_allclose(moved[i, :, :, c], expected, atol=2e-4)
    assert np.abs(shifts).max() <= 2.5 and 1 / 1.4 <= factors.min() < 0.9 and 1.1 < factors.max() <= 1.4


def test_a_shift_by_whole_pixels_moves_the_rows():
    one = jnp.arange(25.0).reshape(1, 5, 5, 1)
    found = augment(Augment(shift=1.0), KEY, jnp.tile(one, (64, 1, 1, 1)))
    shifts = np.asarray(jax.random.uniform(jax.random.split(KEY, 6)[0], (64, 2), minval=-1, maxval=1))
    middle = 12 - 5 * shifts[:, 0] - shifts[:, 1]  # of a plane: what comes to the middle stood at minus the shift
    np.testing.assert_allclose(found[:, 2, 2, 0], middle, rtol=1e-5)


def test_half_of_the_images_are_flipped():
    found = augment(Augment(flip=0.5), KEY, IMAGES)
    flipped = [bool((found[i] == IMAGES[i, :, ::-1]).all()) for i in range(40)]
    assert all(own or bool((found[i] == IMAGES[i]).all()) for i, own in enumerate(flipped))
    assert 10 < sum(flipped) < 30
    chex.assert_trees_all_equal(augment(Augment(flip=1.0), KEY, IMAGES), IMAGES[:, :, ::-1])


def test_crops_are_pieces_of_the_padded_image_from_every_corner():
    padded = np.pad(IMAGES, ((0, 0), (2, 2), (2, 2), (0, 0)), mode="edge")
    found, corners = np.asarray(augment(Augment(crop=2), KEY, IMAGES)), set()
    for i in range(40):
        (own,) = [(a, b) for a in range(5) for b in range(5) if (padded[i, a : a + 12, b : b + 10] == found[i]).all()]
        corners.add(own)
    assert {a for a, _ in corners} == {b for _, b in corners} == set(range(5))


def test_noise_has_its_deviation_and_is_for_vectors_too():
    found = augment(Augment(noise=0.3), KEY, jnp.ones((500, 20)))
    assert float(found.std()) == pytest.approx(0.3, rel=0.03) and float(found.mean()) == pytest.approx(1, abs=0.01)


def test_it_is_a_pure_function_of_the_key_and_each_example_changes_on_its_own():
    same = jnp.tile(IMAGES[:1], (6, 1, 1, 1))
    first, again, other = (augment(ALL, key, same) for key in (KEY, KEY, jax.random.key(6)))
    chex.assert_trees_all_equal(first, again)
    assert not np.allclose(first, other) and not any(np.allclose(first[0], first[i]) for i in range(1, 6))


def test_one_more_change_does_not_change_the_others():
    noisy = augment(Augment(flip=0.5, noise=0.1), KEY, IMAGES)
    noise = augment(Augment(noise=0.1), KEY, IMAGES) - IMAGES
    chex.assert_trees_all_close(noisy - augment(Augment(flip=0.5), KEY, IMAGES), noise, atol=1e-6)


def test_numbers_may_be_swept_under_vmap():
    def changed(rotate, noise):
        return augment(Augment().model_copy(update={"rotate": rotate, "noise": noise}), KEY, IMAGES[:4])

    many = jax.vmap(changed)(jnp.array([0.0, 25.0]), jnp.array([0.2, 0.1]))
    chex.assert_trees_all_close(many[1], augment(Augment(rotate=25.0, noise=0.1), KEY, IMAGES[:4]), atol=1e-5)


CHANGED = [
    "augment={shift=1.0, rotate=10.0, scale=1.1, flip=0.5, crop=1, noise=0.1}",
    "loss={mixup=0.3, label_smoothing=0.1, l2=1e-4}",
]
DRAWN = [
    "augment={use='rand_augment', range=[0, 16], crop=1}",
    "loss={cutmix=1.0, q=0.5, use='generalized_cross_entropy'}",
    "perturb={drop=0.1, weights=0.01, activations=0.1, layers=['Dense_0']}",
]


@pytest.mark.full
@pytest.mark.parametrize("changes", [CHANGED, DRAWN], ids=["changes", "drawn"])
def test_a_resumed_run_changes_its_images_as_one_that_was_not_stopped(tmp_path, changes):
    """All that is drawn, of augmentation, mixup, dropout and balanced batches, to the bit."""
    sets = [
        "task={use='experiments.tasks.digits:digits', validation=200, test=1300}",
        "model={hidden=[8], dropout=0.1, norm='layer'}",
        *changes,
        "train.sampling=balanced",
        "train.evaluate_every=10",
        "train.batch=16",
    ]

    built = build(config.load(small_runs.small(tmp_path), sets), "small.toml")
    program = Program(built)

    def losses(name, steps):
        resolved = config.load(small_runs.small(tmp_path), [*sets, f"train.steps={steps}"])
        folder = tmp_path / name
        found = run.reopen(folder, resolved) if folder.exists() else run.create(folder, resolved, "", overwrite=False)
        trainer = Trainer(dataclasses.replace(built, config=resolved), found, program=program)
        assert trainer.train() is None
        return [row["loss"] for row in read(trainer.logs.jsonl) if "loss" in row]

    whole, first = losses("whole", 30), losses("cut", 10)
    assert losses("cut", 30) == whole and first == whole[:10] and len(whole) == 30
