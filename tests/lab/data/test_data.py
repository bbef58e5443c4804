import chex
import numpy as np
import pytest
import small_tasks
from sklearn.datasets import load_digits

from optchain.lab.base.errors import InputError
from optchain.lab.data import loading as data
from optchain.lab.data.examples import Examples
from optchain.lab.models.answering import together
from optchain.lab.models.class_losses import CrossEntropy
from optchain.lab.models.losses import Loss

CROSS = Loss(CrossEntropy())


def load(name, seed=0, validation=237, test=360):
    return small_tasks.load(name, seed=seed, validation=validation, test=test)


@pytest.mark.parametrize("name, total", [("digits", 1797), ("circles", 1000)])
def test_splits_are_disjoint_complete_and_fixed(name, total):
    first, again = load(name), load(name)
    assert list(first.splits) == ["train", "validation", "test"]
    assert [len(first.rows[split]) for split in first.splits] == [total - 597, 237, 360]
    assert sorted(np.concatenate(list(first.rows.values()))) == list(range(total))
    chex.assert_trees_all_equal(first.splits, again.splits)
    assert set(first.rows["test"]) != set(load(name, seed=1).rows["test"])


def test_the_test_split_does_not_depend_on_the_validation_split():
    chex.assert_trees_all_equal(load("digits").rows["test"], load("digits", validation=100).rows["test"])


@pytest.mark.parametrize(
    "table, message",
    [
        ({"name": "linear", "test": 99}, "task: there is one training example, with the target .*; hold out fewer"),
        ({"name": "tabular", "data": "diabetes", "test": 441}, "task: there is one training example, with the target"),
    ],
)
def test_one_example_is_nothing_to_learn_from(table, message):
    with pytest.raises(InputError, match=message):
        small_tasks.load(**table)


def test_constant_targets_are_nothing_to_learn_from():
    constant = Examples(np.zeros((30, 1)), np.ones(30))
    with pytest.raises(InputError, match="task: all 20 training examples have the target 1.0, so there is nothing to"):
        data.made(constant, small_tasks.table("linear", test=10))


def test_splits_are_stratified():
    counts = np.bincount(load("digits").splits["test"][1])
    assert counts.min() >= 34 and counts.max() <= 38


@pytest.mark.parametrize("name", ["digits", "circles"])
def test_standardization_sees_the_training_examples_only(name):
    task = load(name)
    axis = None if name == "digits" else 0
    train, test = task.splits["train"][0], task.splits["test"][0]
    np.testing.assert_allclose(train.mean(axis), 0, atol=1e-6)
    np.testing.assert_allclose(train.std(axis), 1, atol=1e-6)
    assert np.abs(test.mean(axis)).max() > 1e-4 and np.abs(test.std(axis) - 1).max() > 1e-4


def test_prepare_treats_raw_rows_as_the_splits_were():
    task, raw = load("digits"), load_digits().data
    chex.assert_trees_all_equal(task.prepare(raw[task.rows["test"]]), task.splits["test"][0])


def test_linear_keeps_all_points_and_knows_its_optimum():
    task = load("linear", validation=0, test=0)
    x, y, _ = task.splits["train"]
    assert list(task.splits) == ["train"] and x.shape == (100, 1) and task.held_out("test") == "train"
    slope, offset = np.polyfit(x[:, 0].astype(float), y.astype(float), 1)
    assert task.optimum == pytest.approx(np.mean((slope * x[:, 0] + offset - y) ** 2), rel=1e-5)
    assert task.optimum == pytest.approx(0.861, abs=1e-3)


def test_models_answer_together_by_the_mean_of_what_they_hold_probable():
    draw = np.random.default_rng(0)
    one, many = draw.normal(0, 4, (3, 5, 1)), draw.normal(0, 4, (3, 5, 4))
    found = 1 / (1 + np.exp(-np.asarray(together(CROSS, one), np.float64)))
    np.testing.assert_allclose(found, (1 / (1 + np.exp(-one))).mean(0), rtol=1e-5)
    shares = np.exp(many) / np.exp(many).sum(-1, keepdims=True)
    np.testing.assert_allclose(np.exp(together(CROSS, many)), shares.mean(0), rtol=1e-5)
    # Probabilities that float32 rounds to 1 and 0.
    sure = together(CROSS, np.array([[[200.0]], [[-300.0]]], np.float32))
    np.testing.assert_allclose(sure, 0, atol=1e-6)
